package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// MaxEntry is the largest entry in bytes. It is the limit of a tlog-tiles entry bundle, whose length prefix has 16 bits
// (https://c2sp.org/tlog-tiles).
const MaxEntry = 1<<16 - 1

// ErrTooLarge is returned for an entry whose canonical form is longer than MaxEntry.
var ErrTooLarge = errors.New("entry is larger than 65535 bytes")

// ErrMalformed is wrapped by every error of ParseEntry.
var ErrMalformed = errors.New("malformed entry")

// Marshal returns the canonical form: one JSON object with the fields in the order of the struct, without spaces, without HTML
// escaping, times in UTC, map keys sorted, and without a newline. A zero Version is written as EntryVersion. Invalid UTF-8 in a
// string becomes U+FFFD, so that what a caller sends can't make an entry unwritable.
//
// It is written by hand because it is on the way of every call; a test compares it with encoding/json for every field.
func (e Entry) Marshal() ([]byte, error) { return e.marshal() }

func (e *Entry) marshal() ([]byte, error) {
	if e.Version == 0 {
		e.Version = EntryVersion
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, 1024)
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, int64(e.Version), 10)
	b = appendField(b, "id", e.ID)
	b = append(b, `,"time":`...)
	b = appendTime(b, e.Time)
	b = appendField(b, "kind", string(e.Kind))
	b = appendField(b, "gate", e.Gate)
	b = append(b, `,"actor":`...)
	b = e.Actor.append(b)
	b = appendOptional(b, "action", e.Action)
	b = appendOptional(b, "access", e.Access)
	b = append(b, `,"resource":`...)
	b = appendResource(b, &e.Resource)
	if len(e.Acts) > 0 {
		b = append(b, `,"acts":`...)
		b = appendActs(b, e.Acts)
	}
	if e.Decision != nil {
		b = append(b, `,"decision":`...)
		b = appendDecision(b, e.Decision)
	}
	b = appendOptional(b, "reason", e.Reason)
	o := object{b: appendOptional(b, "grant", e.Grant)}
	o.flag("granted", e.Granted)
	o.flag("break_glass", e.BreakGlass)
	b = o.b
	b = appendOptional(b, "request_digest", e.RequestDigest)
	b = appendOptional(b, "source", e.Source)
	if len(e.Detail) > 0 {
		b = append(b, `,"detail":{`...)
		for i, k := range sortedKeys(e.Detail) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, k)
			b = append(b, ':')
			b = appendString(b, e.Detail[k])
		}
		b = append(b, '}')
	}
	b = append(b, '}')
	if len(b) > MaxEntry {
		return nil, fmt.Errorf("%w: it has %d", ErrTooLarge, len(b))
	}
	return b, nil
}

// check refuses what could not be read back or would not identify the record.
func (e *Entry) check() error {
	year := e.Time.UTC().Year()
	switch authYear := e.Actor.AuthTime.UTC().Year(); {
	case e.Version != EntryVersion:
		return fmt.Errorf("entry version %d: this build writes version %d", e.Version, EntryVersion)
	case e.ID == "":
		return errors.New("entry has no id")
	case e.Kind == "":
		return errors.New("entry has no kind")
	case e.Time.IsZero():
		return errors.New("entry has no time")
	case year < 0 || year > 9999:
		return fmt.Errorf("entry time has the year %d, which RFC 3339 cannot write", year)
	case authYear < 0 || authYear > 9999:
		return fmt.Errorf("entry's actor has an auth_time in the year %d, which RFC 3339 cannot write", authYear)
	}
	for k := range e.Detail {
		// Two keys that differ only in invalid bytes would be written alike.
		if !utf8.ValidString(k) {
			return fmt.Errorf("entry detail has the key %q, which is not UTF-8", k)
		}
	}
	return nil
}

// ParseEntry reads one canonical entry. It is strict: whatever Marshal would not have written, byte for byte, is refused with an
// error that wraps ErrMalformed: another version, unknown, repeated, reordered or differently spelt fields, spaces, trailing data.
func ParseEntry(raw []byte) (Entry, error) {
	if len(raw) > MaxEntry {
		return Entry{}, fmt.Errorf("%w: %w", ErrMalformed, ErrTooLarge)
	}
	version, err := entryVersion(raw)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if version != EntryVersion {
		return Entry{}, fmt.Errorf("%w: it has version %d, this build reads version %d; use a newer bailiwick", ErrMalformed, version, EntryVersion)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	var e Entry
	if err := d.Decode(&e); err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := e.marshal()
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !bytes.Equal(again, raw) {
		return Entry{}, fmt.Errorf("%w: not in canonical form (first difference at byte %d)", ErrMalformed, firstDifference(again, raw))
	}
	return e, nil
}

// entryVersion reads the version before anything else, so that a newer entry is called newer and not damaged.
func entryVersion(raw []byte) (int, error) {
	rest, ok := bytes.CutPrefix(raw, []byte(`{"v":`))
	if !ok {
		return 0, errors.New(`it does not begin with {"v":`)
	}
	digits, _, ok := bytes.Cut(rest, []byte(","))
	if !ok || len(digits) > 9 {
		return 0, errors.New("it has no version")
	}
	v, err := strconv.Atoi(string(digits))
	if err != nil {
		return 0, fmt.Errorf("reading its version: %w", err)
	}
	return v, nil
}

func firstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
