package gate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// What one act may bring into a decision and its audit entry, in bytes. Temporal's own limit on ids is 1000 by default.
const (
	maxName       = 1024
	maxValue      = 255      // a search attribute with a longer value is known by its name only
	maxAttributes = 16 << 10 // all search attributes of a start together
)

// searchAttributes lists attributes as policies see them: "Name" for each, and "Name=value" for text, keyword, bool and int values and for
// each element of a list. Sorted, without duplicates. What the gate sets itself is no caller's to state, so it is left out.
func searchAttributes(s *commonpb.SearchAttributes) []string {
	return attributeTexts(s, func(name string) bool { return !reserved(name) })
}

// runAttributes lists those of a run, with what the gate set.
func runAttributes(s *commonpb.SearchAttributes) []string {
	return attributeTexts(s, func(string) bool { return true })
}

func attributeTexts(s *commonpb.SearchAttributes, counts func(name string) bool) []string {
	fields := s.GetIndexedFields()
	if len(fields) == 0 {
		return nil
	}
	out := make([]string, 0, 2*len(fields))
	for name, payload := range fields {
		if !counts(name) {
			continue
		}
		out = append(out, name)
		for _, value := range attributeValues(payload) {
			if len(value) <= maxValue {
				out = append(out, name+"="+value)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// attributeValues decodes a search attribute as the server does, from JSON; what can't be read has no value, and the server refuses it. The
// type that the payload claims is not believed: the server goes by the type that the attribute was registered with.
func attributeValues(p *commonpb.Payload) []string {
	if string(p.GetMetadata()["encoding"]) != "json/plain" {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(p.GetData()))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, element := range list {
		switch e := element.(type) {
		case string:
			out = append(out, e)
		case bool:
			out = append(out, strconv.FormatBool(e))
		case json.Number:
			if n, err := e.Int64(); err == nil {
				out = append(out, strconv.FormatInt(n, 10))
			}
		}
	}
	return out
}

// versioning is the versioning override that a caller sets: "auto_upgrade", "pinned:DEPLOYMENT.BUILD" or "one_time:DEPLOYMENT.BUILD". The
// newer fields win over the deprecated ones, as in the server.
func versioning(o *workflowpb.VersioningOverride) string {
	if o == nil {
		return ""
	}
	if o.GetAutoUpgrade() {
		return "auto_upgrade"
	}
	if v := o.GetOneTime().GetTargetDeploymentVersion(); v != nil {
		return "one_time:" + v.GetDeploymentName() + "." + v.GetBuildId()
	}
	behavior := o.GetBehavior() //lint:ignore SA1019 clients still send it
	if o.GetPinned() == nil && behavior != enumspb.VERSIONING_BEHAVIOR_PINNED {
		if behavior == enumspb.VERSIONING_BEHAVIOR_AUTO_UPGRADE {
			return "auto_upgrade"
		}
		return ""
	}
	version := o.GetPinnedVersion() //lint:ignore SA1019 clients still send it
	deployment := o.GetDeployment() //lint:ignore SA1019 clients still send it
	if v := o.GetPinned().GetVersion(); v != nil {
		version = v.GetDeploymentName() + "." + v.GetBuildId()
	} else if d := deployment; version == "" && d != nil {
		version = d.GetSeriesName() + "." + d.GetBuildId()
	}
	return "pinned:" + version // empty: to the version that the run is on
}

// checkSize refuses names that no run, queue or schedule can have: unbounded, they could keep a decision out of the audit log.
func checkSize(r *policy.Resource) error {
	for _, s := range names(r) {
		if len(s) > maxName {
			return fmt.Errorf("the name %q is %d bytes long; the limit is %d", clip(s, 32), len(s), maxName)
		}
	}
	if n := total(r.SearchAttributes); n > maxAttributes {
		return fmt.Errorf("the search attributes are %d bytes long; the limit is %d", n, maxAttributes)
	}
	return nil
}

func names(r *policy.Resource) [12]string {
	return [...]string{
		r.Namespace, r.WorkflowType, r.WorkflowID, r.RunID, r.TaskQueue, r.Signal, r.Update, r.Query, r.ScheduleID, r.Endpoint, r.Cron, r.Versioning,
	}
}

// resourceSize is about what the act's resource takes in an audit entry, in bytes.
func (a *ask) resourceSize() int {
	size := 64
	for _, s := range names(&a.resource) {
		if s != "" {
			size += len(s) + 20 // the field's name and quotes
		}
	}
	return size + total(a.resource.SearchAttributes) + 3*len(a.resource.SearchAttributes)
}

func total(texts []string) (n int) {
	for _, s := range texts {
		n += len(s)
	}
	return n
}
