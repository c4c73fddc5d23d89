package sdkplugin

import (
	"go.temporal.io/sdk/workflow"
)

// ReceiveSignal waits for the next signal of a name, decodes its argument into value (a pointer, or nil to drop it) and returns who sent it.
// It may be mixed with plain receives from the same channel and called from a selector's AddReceive callback. The error is
// *temporal.CanceledError when the workflow is cancelled meanwhile.
func ReceiveSignal(ctx workflow.Context, name string, value any) (Info, error) {
	ch := workflow.GetSignalChannel(ctx, name)
	for {
		// Waiting for a signal in the buffer, and not in a blocked Receive, means that nothing can come between the two lines that follow it:
		// what is not in the buffer has been received, and this was the last to be.
		if err := workflow.Await(ctx, func() bool { return ch.Len() > 0 }); err != nil {
			return Info{}, err
		}
		if !ch.ReceiveAsync(value) {
			continue // another coroutine was faster, or the signal could not be decoded
		}
		state, _ := ctx.Value(runKey).(*runState)
		if state == nil {
			return Info{Problem: "the worker has no Bailiwick plugin"}, nil
		}
		senders := state.delivered[name]
		return senders[len(senders)-ch.Len()-1], nil
	}
}
