/** What the run found wrong besides what the scenario asks for: any difference fails the run. */
export class Differences {
  /** How many there were. */
  count = 0;
  /** The first ones. */
  readonly first: string[] = [];
  /** Accesses that were compared. */
  compared = 0;

  add(text: string): void {
    this.count++;
    if (this.first.length < 10) this.first.push(text);
  }
}
