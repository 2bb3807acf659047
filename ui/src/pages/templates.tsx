// The templates, one row for each; its versions are on its own page.

import { useState } from "preact/hooks";
import type { TemplateList, TemplateSummary } from "../api-types";
import { count } from "../format";
import { get } from "../http";
import { Empty, Loaded, PageHead, Text, Time, useSome, useTitle } from "../parts/basic";
import { useResource } from "../resource";
import { link, templateLink } from "../route";

export function Templates() {
  useTitle("Templates");
  const list = useResource("templates", (signal) => get<TemplateList>("/v1/templates", { signal }));
  return (
    <>
      <PageHead title="Templates" />
      <Loaded from={list}>
        {({ templates }) =>
          templates.length === 0 ? (
            <Empty title="There is no template yet.">
              Apply one: <code>tasker-cli template apply FILE</code>. Workers apply the templates that they are given.
            </Empty>
          ) : (
            <Table templates={templates} />
          )
        }
      </Loaded>
    </>
  );
}

function Table({ templates }: { templates: TemplateSummary[] }) {
  const [text, setText] = useState("");
  // The newest version comes first.
  const groups = [...Map.groupBy(templates, ({ namespace, name }) => `${namespace}/${name}`)];
  const wanted = text.trim().toLowerCase();
  const shown = groups.filter(([name, [newest]]) =>
    `${name} ${newest?.description ?? ""}`.toLowerCase().includes(wanted),
  );
  const { some, more } = useSome(shown, "template");
  return (
    <>
      <div class="filters">
        <div class="fields">
          <label>
            Name
            <input
              value={text}
              placeholder="part of a name"
              autocomplete="off"
              onInput={(event) => {
                setText(event.currentTarget.value);
              }}
            />
          </label>
        </div>
      </div>
      {shown.length === 0 && <Empty title="No template matches." />}
      {shown.length > 0 && (
        <div class="scroll">
          <table>
            <thead>
              <tr>
                <th scope="col">Template</th>
                <th scope="col">Description</th>
                <th scope="col">Newest version</th>
                <th scope="col" class="number">
                  Versions
                </th>
                <th scope="col" class="number">
                  Steps
                </th>
                <th scope="col">Stored</th>
                <th scope="col">Tasks</th>
              </tr>
            </thead>
            <tbody>
              {some.map(([key, versions]) => {
                const [newest] = versions;
                if (!newest) return null;
                const { namespace, name } = newest;
                return (
                  <tr key={key}>
                    <th scope="row">
                      <a href={templateLink(namespace, name)} data-row>
                        <Text>{key}</Text>
                      </a>
                    </th>
                    <td class="reason">
                      <Text>{newest.description ?? ""}</Text>
                    </td>
                    <td>
                      <code>{newest.version}</code>
                    </td>
                    <td class="number">{count(versions.length)}</td>
                    <td class="number">{count(newest.total_steps)}</td>
                    <td>
                      <Time at={newest.created_at} />
                    </td>
                    <td>
                      <a href={link(["tasks"], { namespace, template: name })}>Tasks</a>
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
      {more}
    </>
  );
}
