export * from './memory/u64.js';
