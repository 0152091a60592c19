import manifest from '../../package.json' with { type: 'json' };

/** The version of this package; the build puts the JSON into `dist`, so nothing is read at run time. */
export const VERSION: string = manifest.version;
