package runs

import (
	"context"
	"fmt"
)

// Bounds keep a graph readable and its reading short.
type Bounds struct {
	Runs  int // histories to read in all
	Depth int // generations below the first run
}

// DefaultBounds are for people who look at the picture.
var DefaultBounds = Bounds{Runs: 60, Depth: 8}

// Node is a run in a graph. Either Timeline or Problem is set.
type Node struct {
	Namespace  string    `json:"namespace"`
	WorkflowID string    `json:"workflow_id"`
	RunID      string    `json:"run_id,omitempty"`
	Timeline   *Timeline `json:"timeline,omitempty"`
	Problem    string    `json:"problem,omitempty"`  // why its history is not here
	Branches   []Branch  `json:"branches,omitempty"` // in the order of their steps
}

// Branch is the run that a step led to: a child, one that backs a Nexus operation, or the next run of a chain.
type Branch struct {
	Step int   `json:"step"` // index into the node's Timeline.Steps
	Node *Node `json:"run"`
}

// Graph is a run with its descendants.
type Graph struct {
	Root       *Node `json:"root"`
	Runs       int   `json:"runs"`       // histories read
	Left       int   `json:"left"`       // runs whose histories are not here: out of bounds, or not readable
	Verified   int   `json:"verified"`   // of all runs together
	Unattested int   `json:"unattested"` //
	Invalid    int   `json:"invalid"`    //
}

// OK reports whether nothing in any run is invalid.
func (g Graph) OK() bool { return g.Invalid == 0 }

// Reader reads one run's timeline. Read is one, for a client's own namespace.
type Reader func(context.Context, Config) (Timeline, error)

// ReadGraph reads a run and follows its children, the runs that back its Nexus operations, and next runs, breadth first, so that what the bounds leave out is what is farthest away. A
// descendant that cannot be read (another namespace's rights, a history that has gone) becomes a node with a problem; only the first
// run's failure is an error.
func ReadGraph(ctx context.Context, read Reader, cfg Config, bounds Bounds) (Graph, error) {
	first, err := read(ctx, cfg)
	if err != nil {
		return Graph{}, err
	}
	root := &Node{Namespace: first.Namespace, WorkflowID: first.WorkflowID, RunID: first.RunID, Timeline: &first}
	g := Graph{Root: root, Runs: 1}
	g.count(first)
	type pending struct {
		node  *Node
		depth int
	}
	seen := map[string]bool{root.key(): true}
	for queue := []pending{{root, 0}}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for i, s := range at.node.Timeline.Steps {
			next := following(at.node, s)
			if next == nil {
				continue
			}
			at.node.Branches = append(at.node.Branches, Branch{Step: i, Node: next})
			switch {
			case seen[next.key()]:
				next.Problem = "shown elsewhere in this graph"
				continue
			case at.depth >= bounds.Depth:
				next.Problem = fmt.Sprintf("not followed: more than %d generations below the first run", bounds.Depth)
			case g.Runs >= bounds.Runs:
				next.Problem = fmt.Sprintf("not followed: %d runs are shown already", bounds.Runs)
			}
			seen[next.key()] = true
			if next.Problem != "" {
				g.Left++
				continue
			}
			c := cfg
			c.Namespace, c.WorkflowID, c.RunID = next.Namespace, next.WorkflowID, next.RunID
			t, err := read(ctx, c)
			if err != nil {
				if ctx.Err() != nil {
					return Graph{}, fmt.Errorf("reading the run %s: %w", next.WorkflowID, err)
				}
				next.Problem = "not readable: " + err.Error()
				g.Left++
				continue
			}
			next.Timeline = &t
			g.Runs++
			g.count(t)
			queue = append(queue, pending{next, at.depth + 1})
		}
	}
	return g, nil
}

// following returns the run that a step led to, or nil.
func following(n *Node, s Step) *Node {
	switch {
	case (s.Kind == KindChild || s.Kind == KindNexus) && s.RunID != "":
		ns, id := s.Space, s.ID
		if ns == "" {
			ns = n.Namespace
		}
		if s.Kind == KindNexus {
			id = s.Backing
		}
		return &Node{Namespace: ns, WorkflowID: id, RunID: s.RunID}
	case s.Kind == KindContinuedAsNew && s.ID != "":
		return &Node{Namespace: n.Namespace, WorkflowID: n.WorkflowID, RunID: s.ID}
	}
	return nil
}

func (n *Node) key() string { return n.Namespace + "\x00" + n.WorkflowID + "\x00" + n.RunID }

func (g *Graph) count(t Timeline) {
	g.Verified += t.Verified
	g.Unattested += t.Unattested
	g.Invalid += t.Invalid
}

// branch returns the run that a step led to, or nil.
func (n *Node) branch(step int) *Node {
	for _, b := range n.Branches {
		if b.Step == step {
			return b.Node
		}
	}
	return nil
}
