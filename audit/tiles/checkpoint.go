package tiles

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// checkpointName is the file in a log's directory that holds its newest checkpoint.
const checkpointName = "checkpoint"

// maxSize keeps sizes within what tlog's int64 arithmetic can carry.
const maxSize = 1 << 56

// checkpoint is the text of a checkpoint (https://c2sp.org/tlog-checkpoint). Unverified unless it came from openCheckpoint.
type checkpoint struct {
	origin string
	size   uint64
	root   tlog.Hash
}

// parseCheckpoint reads the signed text: origin, size in decimal, root in base64, each on a line. Extension lines are refused: we
// write none.
func parseCheckpoint(text string) (checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" || lines[0] == "" {
		return checkpoint{}, errors.New("checkpoint does not have the three lines origin, size and root")
	}
	size, err := strconv.ParseUint(lines[1], 10, 64)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] || size > maxSize {
		return checkpoint{}, fmt.Errorf("checkpoint states the size %q", lines[1])
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return checkpoint{}, fmt.Errorf("checkpoint states the root %q, which is not a SHA-256 in base64", lines[2])
	}
	return checkpoint{origin: lines[0], size: size, root: tlog.Hash(root)}, nil
}

// signedText returns the part of a signed note that is signed, without checking any signature.
func signedText(msg []byte) (string, error) {
	text, _, ok := strings.Cut(string(msg), "\n\n")
	if !ok {
		return "", errors.New("checkpoint is not a signed note")
	}
	return text + "\n", nil
}

// openCheckpoint checks msg against the keys, one of which must have signed it, and returns what it says. code is empty when all is well. When only the
// signature or origin is wrong, the returned checkpoint still holds what it claims.
func openCheckpoint(msg []byte, keys logKeys) (c checkpoint, code Code, err error) {
	text, err := signedText(msg)
	if err != nil {
		return checkpoint{}, CodeCheckpointMalformed, err
	}
	if c, err = parseCheckpoint(text); err != nil {
		return checkpoint{}, CodeCheckpointMalformed, err
	}
	if c.origin != keys.Name() {
		return c, CodeCheckpointOrigin, fmt.Errorf("checkpoint is of the log %q, the verifier key is of %q", c.origin, keys.Name())
	}
	n, err := note.Open(msg, note.VerifierList(keys.verifiers...))
	if err != nil {
		err = fmt.Errorf("checkpoint is not signed by the verifier key (%s): %w", KeyID(keys.names[len(keys.names)-1]), err)
		if keys.broken != nil {
			err = fmt.Errorf("%w; and what the log says of keys that follow is not proven: %w", err, keys.broken)
		}
		return c, CodeCheckpointSignature, err
	}
	if n.Text != text {
		return c, CodeCheckpointMalformed, errors.New("checkpoint has more than one text")
	}
	return c, "", nil
}

// witnessedName is the file beside it that holds the newest checkpoint with the cosignatures that the witness policy asks for.
const witnessedName = "checkpoint.witnessed"
