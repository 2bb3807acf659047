// The console of Tasker.

import { render } from "preact";
import { App } from "./app";
import { identify } from "./session";

render(<App />, document.body);
void identify();
