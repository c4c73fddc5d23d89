package policy

import (
	_ "embed"
	"fmt"
	"sync"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
)

//go:embed schema.cedarschema
var schemaText string

// SchemaText returns the Cedar schema that policies are checked against, in the human-readable form.
func SchemaText() string { return schemaText }

// Entity types of the schema.
const (
	typeUser      types.EntityType = "User"
	typeClient    types.EntityType = "Client"
	typeGroup     types.EntityType = "Group"
	typeAction    types.EntityType = "Action"
	typeCluster   types.EntityType = "Cluster"
	typeNamespace types.EntityType = "Namespace"
	typeWorkflow  types.EntityType = "Workflow"
	typeTaskQueue types.EntityType = "TaskQueue"
	typeSchedule  types.EntityType = "Schedule"
)

// loadSchema parses the embedded schema once. It fails only if the build embeds a broken one.
var loadSchema = sync.OnceValues(func() (*resolved.Schema, error) {
	var s schema.Schema
	s.SetFilename("schema.cedarschema")
	if err := s.UnmarshalCedar([]byte(schemaText)); err != nil {
		return nil, fmt.Errorf("parsing the embedded schema: %w", err)
	}
	r, err := s.Resolve()
	if err != nil {
		return nil, fmt.Errorf("resolving the embedded schema: %w", err)
	}
	return r, nil
})
