// Drives a deploy workflow with the npm client as any program with a token would, and prints what happened as JSON.
// Settings come by environment: ADDRESS, TOKEN, NAMESPACE, WORKFLOW_ID, REASON and the JSON of INPUT, SIGNAL and UPDATE ({"name", "args"}).
import { Client, Connection } from '@temporalio/client';

const { ADDRESS, TOKEN, NAMESPACE, WORKFLOW_ID, REASON } = process.env;
const signal = JSON.parse(process.env.SIGNAL);
const update = JSON.parse(process.env.UPDATE);

const out = {};
const connection = await Connection.connect({ address: ADDRESS, apiKey: TOKEN, tls: false });
try {
  const client = new Client({ connection, namespace: NAMESPACE });
  const handle = await connection.withMetadata({ 'bailiwick-reason': REASON }, () =>
    client.workflow.start('deploy', { workflowId: WORKFLOW_ID, taskQueue: 'deploy', args: [JSON.parse(process.env.INPUT)] }),
  );
  out.runId = handle.firstExecutionRunId;
  if (update) out.updated = await handle.executeUpdate(update.name, { args: update.args });
  if (signal) await handle.signal(signal.name, ...signal.args);
  out.result = await handle.result();
} catch (err) {
  // gRPC errors arrive as the cause of the client's own.
  const cause = err.cause ?? err;
  out.error = { name: err.name, message: err.message, code: cause.code, details: cause.details };
} finally {
  await connection.close();
}
console.log(JSON.stringify(out));
