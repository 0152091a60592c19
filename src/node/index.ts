export * from './capture-folder.js';
