/** The region does not have this instruction; the interpreter does it. */
export class NotTranslated {
  readonly why: string;
  constructor(why: string) {
    this.why = why;
  }
}
