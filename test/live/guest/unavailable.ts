/** Something that the live rig needs is not on this machine: the run is skipped, unless it is required. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable';
}
