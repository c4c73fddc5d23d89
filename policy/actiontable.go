package policy

const (
	mutates = true
	keeps   = false
)

// actionTable says what each API method means. It follows the meaning of the method, not the server's own advisory table; where
// the two differ, TestActionsAgainstServer says why. A method that is not here is refused.
//
// Task queue polls and heartbeats are work that changes nothing durable, so they need no record before they are let through.
var actionTable = []struct {
	access   Access
	scope    Scope
	mutating bool
	names    string
}{
	{Read, ScopeCluster, keeps, `
		GetClusterInfo GetSearchAttributes GetSystemInfo ListNamespaces
		Operator.GetNexusEndpoint Operator.ListClusters Operator.ListNexusEndpoints`},
	{Read, ScopeNamespace, keeps, `
		CountActivityExecutions CountNexusOperationExecutions CountSchedules CountWorkers CountWorkflowExecutions
		DescribeActivityExecution DescribeBatchOperation DescribeDeployment DescribeNamespace DescribeNexusOperationExecution
		DescribeWorker DescribeWorkerDeployment DescribeWorkerDeploymentVersion DescribeWorkflowRule
		FetchWorkerConfig GetCurrentDeployment GetDeploymentReachability GetWorkerTaskReachability
		ListActivityExecutions ListArchivedWorkflowExecutions ListBatchOperations ListClosedWorkflowExecutions ListDeployments
		ListNexusOperationExecutions ListOpenWorkflowExecutions ListSchedules ListWorkerDeployments ListWorkers
		ListWorkflowExecutions ListWorkflowRules PollActivityExecution PollNexusOperationExecution ScanWorkflowExecutions
		ValidateWorkerDeploymentVersionComputeConfig Operator.ListSearchAttributes`},
	{Read, ScopeWorkflow, keeps, `
		DescribeWorkflowExecution GetWorkflowExecutionHistory GetWorkflowExecutionHistoryReverse
		PollWorkflowExecutionTimeSkipping PollWorkflowExecutionUpdate QueryWorkflow`},
	{Read, ScopeTaskQueue, keeps, `
		DescribeTaskQueue GetWorkerBuildIdCompatibility GetWorkerVersioningRules ListTaskQueuePartitions`},
	{Read, ScopeSchedule, keeps, `DescribeSchedule ListScheduleMatchingTimes`},

	{Operate, ScopeNamespace, mutates, `
		CreateWorkerDeployment CreateWorkerDeploymentVersion CreateWorkflowRule DeleteActivityExecution
		DeleteNexusOperationExecution DeleteWorkerDeployment DeleteWorkerDeploymentVersion DeleteWorkflowRule
		ExecuteMultiOperation RequestCancelActivityExecution RequestCancelNexusOperationExecution
		SetCurrentDeployment SetWorkerDeploymentCurrentVersion SetWorkerDeploymentManager SetWorkerDeploymentRampingVersion
		StartActivityExecution StartBatchOperation StartNexusOperationExecution StopBatchOperation TerminateActivityExecution
		TerminateNexusOperationExecution UpdateWorkerConfig UpdateWorkerDeploymentVersionComputeConfig
		UpdateWorkerDeploymentVersionMetadata`},
	{Operate, ScopeWorkflow, mutates, `
		DeleteWorkflowExecution PauseActivity PauseActivityExecution PauseWorkflowExecution RequestCancelWorkflowExecution
		ResetActivity ResetActivityExecution ResetWorkflowExecution SignalWithStartWorkflowExecution SignalWorkflowExecution
		StartWorkflowExecution TerminateWorkflowExecution TriggerWorkflowRule UnpauseActivity UnpauseActivityExecution
		UnpauseWorkflowExecution UpdateActivityExecutionOptions UpdateActivityOptions UpdateWorkflowExecution
		UpdateWorkflowExecutionOptions`},
	{Operate, ScopeTaskQueue, mutates, `
		UpdateTaskQueueConfig UpdateWorkerBuildIdCompatibility UpdateWorkerVersioningRules`},
	{Operate, ScopeSchedule, mutates, `CreateSchedule DeleteSchedule PatchSchedule UpdateSchedule`},

	{Work, ScopeTaskQueue, keeps, `PollActivityTaskQueue PollNexusTaskQueue PollWorkflowTaskQueue`},
	{Work, ScopeNamespace, keeps, `RecordWorkerHeartbeat`},
	{Work, ScopeTaskQueue, keeps, `RecordActivityTaskHeartbeat`},
	{Work, ScopeWorkflow, keeps, `RecordActivityTaskHeartbeatById`},
	// These name their task by a token. The gate knows, or finds out, from which task queue it came.
	{Work, ScopeTaskQueue, mutates, `
		RespondActivityTaskCanceled RespondActivityTaskCompleted RespondActivityTaskFailed RespondNexusTaskCompleted
		RespondNexusTaskFailed RespondQueryTaskCompleted RespondWorkflowTaskCompleted RespondWorkflowTaskFailed`},
	{Work, ScopeNamespace, mutates, `ShutdownWorker`},
	// Named by id: the run is the resource. The gate asks besides for the one above that answers by a token, on the activity's task queue.
	{Work, ScopeWorkflow, mutates, `
		ResetStickyTaskQueue RespondActivityTaskCanceledById RespondActivityTaskCompletedById RespondActivityTaskFailedById`},
	// Commands come as part of a worker's answer. The workflow is the one that the command acts on.
	{Work, ScopeWorkflow, mutates, CommandStartChild + " " + CommandSignal + " " + CommandRequestCancel + " " + CommandNexusOperation + " " + CommandContinueAsNew},

	{Administer, ScopeNamespace, mutates, `
		DeprecateNamespace UpdateNamespace Operator.AddSearchAttributes Operator.DeleteNamespace Operator.RemoveSearchAttributes`},
	// Making a namespace changes the cluster: an admin of a name that does not exist yet must not be able to claim it.
	{Administer, ScopeCluster, mutates, `
		RegisterNamespace Operator.AddOrUpdateRemoteCluster Operator.CreateNexusEndpoint Operator.DeleteNexusEndpoint
		Operator.RemoveRemoteCluster Operator.UpdateNexusEndpoint ` + AdminAction},

	// Not methods of Temporal: the gate never meets them in a call, the control plane asks about them.
	{Administer, ScopeCluster, mutates, KeysRotate},
	{Administer, ScopeCluster, keeps, KeysView},
	{Delegate, ScopeWorkflow, mutates, AccessRequest + " " + AccessApprove + " " + AccessRevoke + " " + AccessReview},
	{Delegate, ScopeWorkflow, keeps, AccessView},
	{Delegate, ScopeCluster, keeps, AuditRead},
}
