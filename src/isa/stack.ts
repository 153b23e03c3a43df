/** PUSH and POP as parts of other meanings. In 64-bit mode the stack is flat; elsewhere SS and the stack's size decide, in a helper. */
import type { Form, Ops, Size } from './ops.ts';

export function push<V>(o: Ops<V>, form: Form, value: V, size: Size): void {
  if (!form.long) {
    o.helper('push', value, o.constant(size));
    return;
  }
  const top = o.sub(o.register(4, 64), o.constant(size / 8));
  o.store(top, size, value);
  o.setRegister(4, 64, top);
}

/** The value on top of the stack; the stack pointer moves in `release`, once nothing can fault any more. */
export function top<V>(o: Ops<V>, form: Form, size: Size): V {
  return form.long ? o.load(o.register(4, 64), size) : o.helper('stackTop', o.constant(0), o.constant(size));
}

export function release<V>(o: Ops<V>, form: Form, bytes: V): void {
  if (form.long) o.setRegister(4, 64, o.add(o.register(4, 64), bytes));
  else o.helper('release', bytes);
}
