package witness

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// Checkpoint is what a checkpoint's text says (https://c2sp.org/tlog-checkpoint); lines behind the root are allowed and not looked at.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   tlog.Hash
}

// ParseCheckpoint reads the signed text of a checkpoint.
func ParseCheckpoint(text string) (Checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[len(lines)-1] != "" || lines[0] == "" {
		return Checkpoint{}, errors.New("checkpoint does not have the lines origin, size and root")
	}
	size, err := strconv.ParseUint(lines[1], 10, 62)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return Checkpoint{}, fmt.Errorf("checkpoint states the size %.40q", lines[1])
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize || base64.StdEncoding.EncodeToString(root) != lines[2] {
		return Checkpoint{}, fmt.Errorf("checkpoint states the root %.80q, which is not a SHA-256 in base64", lines[2])
	}
	return Checkpoint{Origin: lines[0], Size: size, Root: tlog.Hash(root)}, nil
}

// request is the body of add-checkpoint: what the witness is thought to have, how the checkpoint extends that, and the checkpoint.
type request struct {
	old   uint64
	proof []tlog.Hash
	note  []byte
}

const maxProof = 63 // lines, by the specification

func (r request) marshal() []byte {
	b := fmt.Appendf(nil, "old %d\n", r.old)
	for _, h := range r.proof {
		b = fmt.Appendf(b, "%s\n", h)
	}
	b = append(b, '\n')
	return append(b, r.note...)
}

func parseRequest(body []byte) (request, error) {
	head, msg, ok := strings.Cut(string(body), "\n\n")
	if !ok {
		return request{}, errors.New("there is no empty line before the checkpoint")
	}
	lines := strings.Split(head, "\n")
	size, ok := strings.CutPrefix(lines[0], "old ")
	old, err := strconv.ParseUint(size, 10, 62)
	if !ok || err != nil || strconv.FormatUint(old, 10) != size {
		return request{}, fmt.Errorf("the first line %.60q is not \"old SIZE\"", lines[0])
	}
	r := request{old: old, note: []byte(msg)}
	if len(lines)-1 > maxProof {
		return request{}, fmt.Errorf("the proof has %d lines, more than %d", len(lines)-1, maxProof)
	}
	for _, line := range lines[1:] {
		raw, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(raw) != tlog.HashSize || base64.StdEncoding.EncodeToString(raw) != line {
			return request{}, fmt.Errorf("%.80q in the proof is not a hash in base64", line)
		}
		r.proof = append(r.proof, tlog.Hash(raw))
	}
	return r, nil
}
