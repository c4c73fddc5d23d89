package gate_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/bailiwick-dev/bailiwick/gate"
	"github.com/bailiwick-dev/bailiwick/internal/privacy"
)

// sealing is a kit whose gate seals what it keeps.
type sealing struct {
	*kit
	dir  string
	keys *privacy.Store
}

func newSealing(t *testing.T) *sealing {
	t.Helper()
	s := &sealing{dir: t.TempDir()}
	var err error
	if s.keys, err = privacy.OpenStore(filepath.Join(t.TempDir(), "privacy")); err != nil {
		t.Fatal(err)
	}
	s.kit = newKitWith(t, "", gate.Config{StateDir: s.dir, Seal: s.keys})
	return s
}

// again makes the gate anew, as a restart does.
func (s *sealing) again(t *testing.T, seal gate.Sealer) {
	t.Helper()
	var err error
	if s.Gate, err = gate.New(gate.Config{Name: "gate-1", Audience: "bailiwick:test", Verifier: s.verifier(t), Policy: s.engine, Signer: s.signer, Log: s.log, StateDir: s.dir, Seal: seal}); err != nil {
		t.Fatal(err)
	}
}

// kept is everything that lies in the gate's directory.
func (s *sealing) kept(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	if err := filepath.WalkDir(s.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		all.Write(raw)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func (s *sealing) erase(t *testing.T, login string) {
	t.Helper()
	found, err := s.keys.Find(login)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s has keys %v, %v", login, found, err)
	}
	if err := s.keys.Erase(found[0].Subject); err != nil {
		t.Fatal(err)
	}
}

func (s *sealing) refusedAsErased(t *testing.T, req *workflowservice.CreateScheduleRequest, decision string) {
	t.Helper()
	_, err := s.fire(t, req, time.Now())
	if d := denial(t, err); d.Code != gate.CodeCreatorUnknown || !strings.Contains(d.Message, "erased") || !strings.Contains(d.Message, "saves it again") {
		t.Errorf("a schedule whose creator was erased: %v", err)
	}
	e := s.log.last(t)
	if e.Detail["attestation"] != decision || e.Resource.ScheduleID != "nightly" {
		t.Errorf("recorded as %+v", e)
	}
	if raw, err := e.Marshal(); err != nil || strings.Contains(string(raw), "alice") {
		t.Errorf("the record names again who was erased: %s, %v", raw, err)
	}
}

// Who created a schedule is kept under their own key: it fires as ever, and stops, saying why, when they are erased.
func TestErasingTheCreatorStopsTheSchedule(t *testing.T) {
	s := newSealing(t)
	req := nightly()
	id := s.schedule(t, req)
	if kept := s.kept(t); strings.Contains(kept, "alice") || strings.Contains(kept, "CHG-9") || strings.Contains(kept, "temporal:") || !strings.Contains(kept, "nightly") {
		t.Errorf("kept as %s", kept)
	}
	for range 2 {
		if _, err := s.fire(t, req, time.Now()); err != nil {
			t.Errorf("a firing: %v", err)
		}
		if e := s.log.last(t); e.Reason != "CHG-9" || e.Detail["originator_login"] != "alice@acme.example" {
			t.Errorf("recorded as %+v", e)
		}
		s.again(t, s.keys)
	}
	s.erase(t, "alice@acme.example")
	s.refusedAsErased(t, req, id)
	s.again(t, s.keys)
	s.refusedAsErased(t, req, id)

	// Who comes back has another key, and answers for what they save from then on.
	s.schedule(t, req)
	if _, err := s.fire(t, req, time.Now()); err != nil {
		t.Errorf("saved again: %v", err)
	}
}

// What was kept before encryption was turned on is encrypted when the gate starts with it, and is no use to one without keys.
func TestKeptInTheClearIsSealedAtTheStart(t *testing.T) {
	s := newSealing(t)
	s.again(t, nil)
	req := nightly()
	id := s.schedule(t, req)
	if !strings.Contains(s.kept(t), "alice@acme.example") {
		t.Fatal("without keys it is kept in the clear")
	}
	s.again(t, s.keys)
	if kept := s.kept(t); strings.Contains(kept, "alice") {
		t.Errorf("kept as %s", kept)
	}
	if _, err := s.fire(t, req, time.Now()); err != nil {
		t.Error(err)
	}
	s.again(t, nil)
	if _, err := s.fire(t, req, time.Now()); denial(t, err).Code != gate.CodeCreatorUnknown {
		t.Errorf("a gate without keys: %v", err)
	}
	// A text that was moved to another errand, or altered, is refused, too.
	s.again(t, s.keys)
	path := filepath.Join(s.dir, id+".json")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(raw), `"sealed":"v1.`, `"sealed":"v2.`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.again(t, s.keys)
	if _, err := s.fire(t, req, time.Now()); denial(t, err).Code != gate.CodeCreatorUnknown {
		t.Errorf("altered: %v", err)
	}
}

// Who triggered a schedule is kept under their own key, too; when they are erased the run is its creator's all the same.
func TestErasingWhoTriggered(t *testing.T) {
	s := newSealing(t)
	req := nightly()
	s.schedule(t, req)
	patch := &workflowservice.PatchScheduleRequest{Namespace: "deploy", ScheduleId: "nightly", Patch: &schedulepb.SchedulePatch{TriggerImmediately: &schedulepb.TriggerImmediatelyRequest{}}}
	a, err := s.Admit(t.Context(), s.call("PatchSchedule", patch, s.issuer.User("bob@acme.example", "temporal:deploy:write")))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stamp(a, patch); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(s.kept(t), "bob") {
		t.Errorf("kept as %s", s.kept(t))
	}
	at := patch.Patch.TriggerImmediately.ScheduledTime.AsTime()
	run, err := s.fire(t, req, at)
	if err != nil || !strings.HasPrefix(text(run.Memo.Fields[gate.FieldTrigger]), "bob@acme.example ") {
		t.Fatalf("the run's memo says %v, %v", run.GetMemo(), err)
	}
	delete(run.Memo.Fields, gate.FieldTrigger) // the same message is used again
	s.erase(t, "bob@acme.example")
	if run, err = s.fire(t, req, at); err != nil || run.Memo.Fields[gate.FieldTrigger] != nil {
		t.Errorf("after who triggered it was erased: %v, %v", run.GetMemo(), err)
	}
}
