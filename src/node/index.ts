export * from './capture-folder.js';
export { openKernelCalls } from './kernel-calls.js';
