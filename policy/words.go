package policy

import (
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"
)

// lacking says in words what would have to hold for a policy whose outcome is open to match (yes) or not to match (no).
func (q *question) lacking(r *rule, unnamed bool, want truth) string {
	env := q.environment()
	var parts []string
	if unnamed {
		uid, _ := scopeEntity(r.tree().Resource)
		parts = append(parts, phrase("it is "+uid.String(), "it is not "+uid.String(), want))
	}
	for _, c := range r.tree().Conditions {
		t, err := q.openTest(env, c.Body)
		if err != nil || t != open {
			continue
		}
		side := want
		if c.Condition == ast.ConditionUnless {
			side = inverse(want)
		}
		parts = append(parts, q.words(env, c.Body, side))
	}
	joint := " and "
	if want == no {
		joint = " or " // one condition that fails is enough
	}
	return strings.Join(parts, joint)
}

func phrase(positive, negative string, want truth) string {
	if want == yes {
		return positive
	}
	return negative
}

// words says what must hold for an open expression to become what is wanted. Parts that are settled are left out.
func (q *question) words(env eval.Env, n ast.IsNode, want truth) string {
	all := func(nodes []ast.IsNode, joint string) string {
		var parts []string
		for i, node := range nodes {
			if t, err := q.openTest(env, node); err != nil || t != open {
				continue
			}
			// "context has x && context.x < 5": the second part says it all.
			if has, ok := node.(ast.NodeTypeHas); ok && i+1 < len(nodes) && strings.Contains(cedarText(nodes[i+1]), cedarText(has.Arg)+"."+string(has.Value)) {
				continue
			}
			parts = append(parts, q.words(env, node, want))
		}
		if len(parts) > 1 && joint == " or " {
			return "(" + strings.Join(parts, joint) + ")"
		}
		return strings.Join(parts, joint)
	}
	switch n := n.(type) {
	case ast.NodeTypeAnd:
		if want == yes {
			return all(joined(n), " and ")
		}
		return all(joined(n), " or ")
	case ast.NodeTypeOr:
		if want == yes {
			return all(joined(n), " or ")
		}
		return all(joined(n), " and ")
	case ast.NodeTypeNot:
		return q.words(env, n.Arg, inverse(want))
	}
	return leafWords(n, want)
}

// leafWords says one condition in words where there are good ones, and in Cedar where not.
func leafWords(n ast.IsNode, want truth) string {
	switch n := n.(type) {
	case ast.NodeTypeAccess:
		switch name, _ := isAttribute(n, "context"); name {
		case "agent":
			return phrase("acts through an AI agent", "does not act through an AI agent", want)
		case "granted":
			return phrase("holds a grant for it", "holds no grant for it", want)
		case "break_glass":
			return phrase("it is break-glass access", "it is no break-glass access", want)
		}
	case ast.NodeTypeHas:
		switch {
		case isVariable(n.Arg, "context") && n.Value == "reason":
			return phrase("states a reason", "states no reason", want)
		case isVariable(n.Arg, "context") && n.Value == "grant":
			return phrase("holds a grant for it", "holds no grant for it", want)
		case isVariable(n.Arg, "context") && n.Value == "auth_age":
			return phrase("the token says when they logged in", "the token does not say when they logged in", want)
		case isVariable(n.Arg, "resource") && n.Value == "cron":
			return phrase("with a cron expression", "without a cron expression", want)
		case isVariable(n.Arg, "resource") && n.Value == "versioning":
			return phrase("with a versioning override", "without a versioning override", want)
		}
	case ast.NodeTypeIn:
		if uid, ok := literalEntity(n.Right); ok && uid.Type == typeGroup && isVariable(n.Left, "principal") {
			return phrase("is in the group "+string(uid.ID), "is not in the group "+string(uid.ID), want)
		}
	case ast.NodeTypeLessThan:
		if age, ok := ageLimit(n.BinaryNode); ok {
			return phrase("logged in less than "+age+" ago", "logged in "+age+" ago or more", want)
		}
	case ast.NodeTypeLessThanOrEqual:
		if age, ok := ageLimit(n.BinaryNode); ok {
			return phrase("logged in at most "+age+" ago", "logged in more than "+age+" ago", want)
		}
	case ast.NodeTypeEquals:
		if text, ok := equalsWords(n.BinaryNode); ok {
			return phrase(text[0], text[1], want)
		}
	case ast.NodeTypeContains:
		if name, _ := isAttribute(n.Right, "context"); name != "" {
			if list, ok := n.Left.(ast.NodeTypeSet); ok && contextThings[name] != "" {
				text := contextThings[name] + " one of " + strings.Join(textsIn(list), ", ")
				return phrase(text, "not: "+text, want)
			}
		}
		if text, ok := literalText(n.Right); ok {
			if name, _ := isAttribute(n.Left, "resource"); name == "search_attributes" {
				return phrase("the workflow has the search attribute "+text, "the workflow has not the search attribute "+text, want)
			}
			if name, _ := isAttribute(n.Left, "context"); name == "scopes" {
				return phrase("the token has the scope "+text, "the token has not the scope "+text, want)
			} else if name == "amr" {
				return phrase("logged in with the factor "+text, "logged in without the factor "+text, want)
			}
		}
	}
	return phrase(cedarText(n), "not ("+cedarText(n)+")", want)
}

// contextThings are the texts of a context, as a verb of the caller.
var contextThings = map[types.String]string{"acr": "logged in with", "grant": "holds the grant", "client_id": "acts through the application", "reason": "states the reason",
	"signal": "sends the signal", "update": "sends the update", "query": "sends the query", "endpoint": "uses the endpoint", "actor": "is acted for by",
	"request_digest": "sends the request with the digest", "role": "the role asked for is", "requester": "the requester is",
	"requester_manager": "the requester's manager is"}

func textsIn(list ast.NodeTypeSet) []string {
	var texts []string
	for _, element := range list.Elements {
		if text, ok := literalText(element); ok {
			texts = append(texts, text)
		} else {
			texts = append(texts, cedarText(element))
		}
	}
	return texts
}

// termWords says an obligation in words.
func termWords(term string) string {
	switch name, value, _ := strings.Cut(term, ":"); name {
	case RequireReason:
		return "states a reason"
	case "approvals":
		if value == "1" {
			return "one approver agrees"
		}
		return value + " approvers agree"
	case "auto_approve":
		return "nobody need approve"
	case "max_minutes":
		return "for at most " + value + " minutes"
	}
	return term
}

func equalsWords(n ast.BinaryNode) ([2]string, bool) {
	if one, ok := isAttribute(n.Left, "context"); ok && one == "requester" {
		if other, ok := isAttribute(n.Right, "principal"); ok && other == "name" {
			return [2]string{"is who asks", "is not who asks"}, true
		}
	}
	if one, ok := isAttribute(n.Left, "context"); ok && one == "requester_manager" {
		if other, ok := isAttribute(n.Right, "principal"); ok && other == "name" {
			return [2]string{"is the manager of who asks", "is not the manager of who asks"}, true
		}
	}
	text, ok := literalText(n.Right)
	if !ok {
		return [2]string{}, false
	}
	if name, ok := isAttribute(n.Left, "resource"); ok {
		thing := map[types.String]string{"type": "the workflow type", "task_queue": "the task queue", "id": "the id", "name": "the name"}[name]
		return [2]string{thing + " is " + text, thing + " is not " + text}, thing != ""
	}
	if name, ok := isAttribute(n.Left, "context"); ok {
		thing := contextThings[name]
		return [2]string{thing + " " + text, "not: " + thing + " " + text}, thing != ""
	}
	return [2]string{}, false
}

func ageLimit(n ast.BinaryNode) (string, bool) {
	name, ok := isAttribute(n.Left, "context")
	v, isValue := n.Right.(ast.NodeValue)
	if !ok || !isValue || name != "auth_age" {
		return "", false
	}
	limit, ok := v.Value.(types.Long)
	text := (time.Duration(limit) * time.Second).String()
	if short, whole := strings.CutSuffix(text, "m0s"); whole {
		text = short + "m"
	}
	if short, whole := strings.CutSuffix(text, "h0m"); whole {
		text = short + "h"
	}
	return text, ok
}
