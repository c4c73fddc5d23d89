// A worker that knows nothing of Bailiwick: a token, a task queue, its workflows. Settings come by environment: ADDRESS, TOKEN, NAMESPACE and
// TASK_QUEUE. It says "ready" when it polls and ends when standard input does.
import { fileURLToPath } from 'node:url';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';

const { ADDRESS, TOKEN, NAMESPACE, TASK_QUEUE } = process.env;

Runtime.install({ logger: new DefaultLogger('ERROR') });
const connection = await NativeConnection.connect({ address: ADDRESS, apiKey: TOKEN, tls: false });
const worker = await Worker.create({
  connection,
  namespace: NAMESPACE,
  taskQueue: TASK_QUEUE,
  workflowsPath: fileURLToPath(new URL('./workflows.mjs', import.meta.url)),
  activities: {
    async pack(what) {
      return `packed ${what}`;
    },
  },
});
process.stdin.resume();
process.stdin.on('end', () => worker.shutdown());
const done = worker.run();
console.log('ready');
await done;
await connection.close();
