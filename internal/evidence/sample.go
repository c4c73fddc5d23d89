package evidence

import (
	"container/heap"
	"crypto/sha256"
	"encoding/binary"
	"sort"
)

// sampleSize is how many items are drawn for each criterion; auditors usually ask for 25.
const sampleSize = 25

// sampler draws from a stream without knowing its length: it keeps the items with the smallest SHA-256 of root, criterion and index. Nobody
// can choose them who can't choose the log's root, and anybody can draw them again.
type sampler struct {
	seed []byte
	n    uint64
	best draws
}

type draw struct {
	rank uint64
	ref  Ref
}

// draws is a heap with the largest rank first.
type draws []draw

func (d draws) Len() int           { return len(d) }
func (d draws) Less(i, j int) bool { return d[i].rank > d[j].rank }
func (d draws) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *draws) Push(x any)        { *d = append(*d, x.(draw)) }
func (d *draws) Pop() any {
	old := *d
	last := old[len(old)-1]
	*d = old[:len(old)-1]
	return last
}

func (f *facts) sample(criterion string) *sampler {
	s := f.samples[criterion]
	if s == nil {
		s = &sampler{}
		f.samples[criterion] = s
	}
	return s
}

// seedSamples must come before anything is offered.
func (f *facts) seedSamples(root string) {
	for _, c := range criteria {
		f.samples[c.ID] = &sampler{seed: []byte(root + "|" + c.ID + "|")}
	}
}

func (s *sampler) offer(r Ref) {
	s.n++
	var buf [128]byte
	in := binary.BigEndian.AppendUint64(append(buf[:0], s.seed...), r.Index)
	sum := sha256.Sum256(in)
	rank := binary.BigEndian.Uint64(sum[:])
	if len(s.best) == sampleSize {
		if rank >= s.best[0].rank {
			return
		}
		s.best[0] = draw{rank, r}
		heap.Fix(&s.best, 0)
		return
	}
	heap.Push(&s.best, draw{rank, r})
}

// drawn returns the sample by index.
func (s *sampler) drawn() []Ref {
	refs := make([]Ref, 0, len(s.best))
	for _, d := range s.best {
		refs = append(refs, d.ref)
	}
	sort.Slice(refs, func(i, j int) bool { return refs[i].Index < refs[j].Index })
	return refs
}
