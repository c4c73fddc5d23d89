package serverplugin

import (
	"context"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"

	"github.com/bailiwick-dev/bailiwick/gate"
)

// RegisterSearchAttributes adds to a namespace what it lacks of the search attributes that the gate sets on runs, so that people can ask for
// "all runs started by alice". It may be repeated. The client needs the right to administer the namespace. By hand:
//
//	temporal operator search-attribute create --namespace NS --name BailiwickOriginator --type Keyword \
//	  --name BailiwickActor --type Keyword --name BailiwickGrant --type Keyword --name BailiwickReason --type Text
func RegisterSearchAttributes(ctx context.Context, operator operatorservice.OperatorServiceClient, namespace string) error {
	have, err := operator.ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{Namespace: namespace})
	if err != nil {
		return fmt.Errorf("listing the search attributes of namespace %q: %w", namespace, err)
	}
	lacking := map[string]enumspb.IndexedValueType{}
	for name, typ := range gate.SearchAttributes() {
		if _, ok := have.GetCustomAttributes()[name]; !ok {
			lacking[name] = typ
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	if _, err := operator.AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{Namespace: namespace, SearchAttributes: lacking}); err != nil {
		return fmt.Errorf("adding search attributes to namespace %q: %w", namespace, err)
	}
	return nil
}
