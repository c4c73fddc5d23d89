package tiles

import (
	"fmt"
	"sync"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// guard signs a checkpoint only when its root is the one computed, independently of Tessera, from the journal's entries in the
// journal's order. A tree with an entry misplaced, missing or doubled is thus never published, whatever went wrong in making it.
type guard struct {
	note.Signer
	origin string

	mu      sync.Mutex // covers the following; Tessera signs from goroutines of its own
	edge    *frontier  // of the last checkpoint signed
	pending []tlog.Hash
	refused error // why the last signature was refused
}

// expect tells the guard of a leaf that is about to be given to Tessera, in order.
func (g *guard) expect(leaf tlog.Hash) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pending = append(g.pending, leaf)
}

// Sign implements note.Signer for checkpoints.
func (g *guard) Sign(msg []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c, err := parseCheckpoint(string(msg))
	if err != nil {
		return nil, g.refuse(err)
	}
	if err := g.advance(c.size); err != nil {
		return nil, g.refuse(err)
	}
	if root := g.edge.root(); c.origin != g.origin || c.root != root {
		return nil, g.refuse(fmt.Errorf("the tree of %d entries has the root %v, the journal gives %v", c.size, c.root, root))
	}
	return g.Signer.Sign(msg)
}

// advance moves the edge to size. The caller holds mu.
func (g *guard) advance(size uint64) error {
	if size < g.edge.size || size > g.edge.size+uint64(len(g.pending)) {
		return fmt.Errorf("the tree has %d entries, the last checkpoint %d and the journal %d more", size, g.edge.size, len(g.pending))
	}
	n := size - g.edge.size
	for _, leaf := range g.pending[:n] {
		g.edge.push(leaf)
	}
	g.pending = append(g.pending[:0], g.pending[n:]...)
	return nil
}

func (g *guard) refuse(err error) error {
	g.refused = fmt.Errorf("refusing to sign a checkpoint: %w", err)
	return g.refused
}

func (g *guard) err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refused
}
