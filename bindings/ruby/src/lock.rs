//! Runs code without the lock of the interpreter, so that other threads of Ruby run meanwhile.

use std::any::Any;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;

use magnus::{Error, Ruby};
use tasker_worker_bridge::Bridge;

/// A function without arguments, and its result when C has called it.
struct Call<'a, T> {
    work: &'a dyn Fn() -> T,
    result: Option<Result<T, Box<dyn Any + Send>>>,
}

/// Does work that ends by itself. Ruby handles interrupts of the thread before it, and after it.
///
/// # Errors
/// What the handler of an interrupt raises.
pub(crate) fn without_lock<T>(ruby: &Ruby, work: &dyn Fn() -> T) -> Result<T, Error> {
    loop {
        if let Some(result) = call(work, None) {
            return Ok(result);
        }
        ruby.thread_check_ints()?;
    }
}

/// Does work that [`Bridge::interrupt`] ends. Returns none if Ruby has interrupted the thread before it.
pub(crate) fn interruptible<T>(bridge: &Bridge, work: &dyn Fn() -> T) -> Option<T> {
    call(work, Some(bridge))
}

fn call<T>(work: &dyn Fn() -> T, interrupted: Option<&Bridge>) -> Option<T> {
    let mut call = Call { work, result: None };
    let data = ptr::from_mut(&mut call).cast();
    let bridge = interrupted.map_or(ptr::null_mut(), |bridge| ptr::from_ref(bridge).cast_mut().cast());
    let unblock = interrupted.map(|_| interrupt as unsafe extern "C" fn(*mut c_void));
    // This variant never leaves the function by a jump, so no value is lost: it reports interrupts by not calling.
    // SAFETY: the thread holds the lock, because a method of Ruby is running. `run::<T>` gets the `Call<T>` that it
    // expects, and `interrupt` a bridge. Both outlive the call, and nothing else uses the `Call` meanwhile.
    unsafe { rb_sys::rb_thread_call_without_gvl2(Some(run::<T>), data, unblock, bridge) };
    match call.result? {
        Ok(result) => Some(result),
        Err(panic) => resume_unwind(panic),
    }
}

unsafe extern "C" fn run<T>(data: *mut c_void) -> *mut c_void {
    // SAFETY: `call` passes a pointer to its own `Call<T>`, and waits.
    let call = unsafe { &mut *data.cast::<Call<'_, T>>() };
    // A panic must not reach C.
    call.result = Some(catch_unwind(AssertUnwindSafe(call.work)));
    ptr::null_mut()
}

unsafe extern "C" fn interrupt(bridge: *mut c_void) {
    // SAFETY: `call` passes a bridge that lives until its work has ended.
    let bridge = unsafe { &*bridge.cast::<Bridge>() };
    bridge.interrupt();
}
