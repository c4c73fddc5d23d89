package index

// fieldNames are how fields are called in problems and in the documentation.
var fieldNames = map[Field]string{
	FieldOriginator: "originator", FieldAgent: "agent", FieldClient: "client", FieldNamespace: "namespace", FieldWorkflow: "workflow",
	FieldWorkflowType: "workflow type", FieldRun: "run", FieldAction: "action", FieldAccess: "access", FieldOutcome: "outcome",
	FieldCode: "code", FieldPolicy: "policy", FieldGrant: "grant", FieldSource: "source", FieldToken: "token", FieldKind: "kind",
	FieldGate: "gate", FieldWord: "word", FieldSchedule: "schedule", FieldTaskQueue: "task queue", FieldName: "name", FieldGroup: "group",
	FieldKeyUse: "key use", FieldPolicySet: "policy set", FieldRefused: "refused",
}
