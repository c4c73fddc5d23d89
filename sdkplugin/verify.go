package sdkplugin

import (
	"encoding/json"
	"errors"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// maxLineage is the largest lineage payload that is looked at, in bytes.
const maxLineage = 4 << 10

// scheduledBy is the search attribute in which Temporal names the schedule that started a run.
var scheduledBy = temporal.NewSearchAttributeKeyKeyword("TemporalScheduledById")

// judge verifies the attestation in a header and its binding. The error is a *attest.Error always.
func (p *Plugin) judge(header map[string]*commonpb.Payload, check func(attest.Verified) error) (attest.Verified, error) {
	payload, ok := header[attest.HeaderKey]
	if !ok {
		return attest.Verified{}, &attest.Error{Code: attest.CodeMissing, Detail: "the call did not come through a Bailiwick gate, or its worker did not carry the attestation forward"}
	}
	raw, ok := attest.FromPayload(payload)
	if !ok {
		return attest.Verified{}, &attest.Error{Code: attest.CodeMalformed, Detail: "the header field is not an attestation"}
	}
	v, err := p.keys.current().Verify(raw, p.opts.Audience)
	if err != nil {
		return attest.Verified{}, err
	}
	if err := check(v); err != nil {
		return attest.Verified{}, err
	}
	return v, nil
}

// keyUnknown reports whether a newer key set could change the verdict.
func keyUnknown(err error) bool {
	var e *attest.Error
	return errors.As(err, &e) && e.Code == attest.CodeKeyUnknown
}

// unattested is the failure of a task that will never have a valid attestation.
func unattested(err error) error {
	return temporal.NewNonRetryableApplicationError("refused by Bailiwick: "+err.Error(), FailureUnattested, nil)
}

// workflowRun gathers what Temporal says about the run that workflow code belongs to.
func workflowRun(ctx workflow.Context) attest.Run {
	info := workflow.GetInfo(ctx)
	r := attest.Run{
		Namespace: info.Namespace, WorkflowID: info.WorkflowExecution.ID, RunID: info.WorkflowExecution.RunID, WorkflowType: info.WorkflowType.Name,
		FirstRunID: info.FirstRunID, ContinuedRunID: info.ContinuedExecutionRunID, OriginalRunID: info.OriginalRunID,
	}
	if parent := info.ParentWorkflowExecution; parent != nil {
		r.ParentNamespace, r.ParentWorkflowID, r.ParentRunID = info.ParentWorkflowNamespace, parent.ID, parent.RunID
	}
	if root := info.RootWorkflowExecution; root != nil {
		r.RootWorkflowID, r.RootRunID = root.ID, root.RunID
	}
	r.ScheduleID, _ = workflow.GetTypedSearchAttributes(ctx).GetKeyword(scheduledBy)
	return r
}

// activityRun gathers what Temporal and, where that does not suffice, the workflow's worker say about an activity's run. Temporal does not
// tell an activity of its run's parent, root, chain and schedule; the lineage field does.
func activityRun(info activity.Info, header map[string]*commonpb.Payload) attest.Run {
	r := attest.Run{Namespace: info.Namespace, WorkflowID: info.WorkflowExecution.ID, RunID: info.WorkflowExecution.RunID}
	if info.WorkflowType != nil {
		r.WorkflowType = info.WorkflowType.Name
	}
	data := header[attest.LineageKey].GetData()
	if len(data) == 0 || len(data) > maxLineage {
		return r
	}
	var claimed attest.Run
	if err := json.Unmarshal(data, &claimed); err != nil {
		return r
	}
	// The run id is not compared: after a reset, an activity scheduled before it runs in the new run.
	if claimed.Namespace != r.Namespace || claimed.WorkflowID != r.WorkflowID || claimed.WorkflowType != r.WorkflowType {
		return r
	}
	claimed.RunID = r.RunID
	return claimed
}

// lineage returns the field that an activity of the run needs for its own check of v, or nil if it needs none.
func lineage(v attest.Verified, r attest.Run) *commonpb.Payload {
	alone := attest.Run{Namespace: r.Namespace, WorkflowID: r.WorkflowID, RunID: r.RunID, WorkflowType: r.WorkflowType}
	if v.CheckRun(alone) == nil {
		return nil
	}
	data, err := json.Marshal(r)
	if err != nil || len(data) > maxLineage {
		return nil
	}
	return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: data}
}
