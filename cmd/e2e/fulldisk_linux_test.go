package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// smallDisk mounts a file system of 500 KiB, which takes the rights of root.
func smallDisk(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=500k"); err != nil {
		t.Skipf("this test mounts a small disk, which is not possible here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
}

// fill leaves no room on a disk; the function that it returns makes room again.
func fill(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(bytes.Repeat([]byte("x"), 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling %s: %v", dir, err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFullDisk: without room for the journal, calls that change something are refused and say why, reads go on, and the server's log does not
// fill what is left of the machine. With room again, all goes on by itself. Without room for the sealed log, only sealing waits.
func TestFullDisk(t *testing.T) {
	s := newSettings(t, "--no-ui", "--no-worker")
	journal, log := filepath.Join(s.state(), "journal"), filepath.Join(s.state(), "log")
	smallDisk(t, journal)
	smallDisk(t, log)
	d := start(t, s)
	alice := d.user(t, "alice@acme.example")
	token := alice.token(t)
	conn, err := grpc.NewClient(d.context.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	api := workflowservice.NewWorkflowServiceClient(conn)
	ctx := metadata.AppendToOutgoingContext(patience(t), "authorization", "Bearer "+token)
	begin := func(id string) (reason string) {
		_, err := api.StartWorkflowExecution(ctx, startRequest(id))
		if err == nil {
			return ""
		}
		for _, detail := range status.Convert(err).Details() {
			if info, ok := detail.(*errdetails.ErrorInfo); ok {
				return info.GetReason()
			}
		}
		return err.Error()
	}
	if reason := begin("full-before"); reason != "" {
		t.Fatalf("before the disk is full: %s", reason)
	}

	free := fill(t, journal)
	refusals, end := 0, time.Now().Add(20*time.Second)
	for n := 0; refusals < 20; n++ {
		time.Sleep(50 * time.Millisecond)
		switch reason := begin(fmt.Sprintf("full-%d", n)); reason {
		case "": // there was room for one more in the last block
		case "audit_unavailable":
			refusals++
		default:
			t.Fatalf("on a full disk a start is refused for %q, want audit_unavailable", reason)
		}
		if time.Now().After(end) {
			t.Fatalf("on a full disk only %d starts were refused in 20 s", refusals)
		}
	}
	if reason := begin("full-never"); reason != "audit_unavailable" {
		t.Errorf("a start that can't be recorded: %q", reason)
	}
	var absent *serviceerror.NotFound
	_, err = api.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: "deploy", Execution: &commonpb.WorkflowExecution{WorkflowId: "full-never"}})
	if !errors.As(serviceerror.FromStatus(status.Convert(err)), &absent) {
		t.Errorf("a start that was refused is in Temporal, or reading is not possible: %v", err)
	}
	if info, err := os.Stat(filepath.Join(s.state(), "logs", "temporal.log")); err != nil || info.Size() > 1<<20 {
		t.Errorf("the server's log has grown to %d bytes (%v)", info.Size(), err)
	}
	free()
	eventually(t, "with room again, starts are possible", func() string { return begin("full-after") })

	free = fill(t, log)
	for _, id := range []string{"full-unsealed-1", "full-unsealed-2", "full-unsealed-3"} {
		if reason := begin(id); reason != "" {
			t.Errorf("without room for the sealed log: %s", reason)
		}
	}
	time.Sleep(1500 * time.Millisecond) // the sealer has tried in vain by now
	alice.ok(t, "audit", "verify")
	free()
	eventually(t, "with room again, the log is sealed", func() string {
		var report struct {
			OK       bool
			Unsealed int
		}
		alice.json(t, &report, "audit", "verify")
		if !report.OK || report.Unsealed > 0 {
			return "not yet"
		}
		return ""
	})
	d.stop(t)
}
