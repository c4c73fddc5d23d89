// Drives a workflow with the npm client as any program with a token would, and prints what happened as JSON.
// Settings come by environment: ADDRESS, TOKEN, NAMESPACE, WORKFLOW_ID, REASON; TYPE, TASK_QUEUE and the JSON of INPUT of a run to start (else it
// is there already); the JSON of SIGNAL and UPDATE ({"name", "args"}); WAIT if the result is wanted.
import { Client, Connection } from '@temporalio/client';

const { ADDRESS, TOKEN, NAMESPACE, WORKFLOW_ID, REASON, TYPE, TASK_QUEUE, WAIT } = process.env;
const signal = JSON.parse(process.env.SIGNAL || 'null');
const update = JSON.parse(process.env.UPDATE || 'null');

const out = {};
const connection = await Connection.connect({ address: ADDRESS, apiKey: TOKEN, tls: false });
try {
  const client = new Client({ connection, namespace: NAMESPACE });
  let handle = client.workflow.getHandle(WORKFLOW_ID);
  if (TYPE) {
    handle = await connection.withMetadata({ 'bailiwick-reason': REASON }, () =>
      client.workflow.start(TYPE, { workflowId: WORKFLOW_ID, taskQueue: TASK_QUEUE, args: [JSON.parse(process.env.INPUT)] }),
    );
    out.runId = handle.firstExecutionRunId;
  }
  if (update) out.updated = await handle.executeUpdate(update.name, { args: update.args });
  if (signal) await handle.signal(signal.name, ...signal.args);
  if (WAIT) out.result = await handle.result();
} catch (err) {
  // gRPC errors arrive as the cause of the client's own.
  const cause = err.cause ?? err;
  out.error = { name: err.name, message: err.message, code: cause.code, details: cause.details };
} finally {
  await connection.close();
}
console.log(JSON.stringify(out));
