// An order that packs things, waits to be released, and has a child send them; written without a thought for identity.
import { condition, defineSignal, defineUpdate, executeChild, proxyActivities, setHandler } from '@temporalio/workflow';

const { pack } = proxyActivities({ startToCloseTimeout: '20 seconds' });

export async function order(what) {
  let released = false;
  let address = 'nowhere';
  setHandler(defineSignal('release'), () => {
    released = true;
  });
  setHandler(defineUpdate('address'), (to) => {
    address = to;
    return `to ${to}`;
  });
  const packed = await pack(what);
  await condition(() => released);
  return await executeChild(send, { args: [packed, address], workflowId: `${what}-send` });
}

export async function send(packed, address) {
  await pack('the label');
  return `${packed} to ${address}`;
}
