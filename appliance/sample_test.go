package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/fincart/courier-gateway/bench"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// TestEveryPresetHasASample sends each preset's own example, which has to get the answer
// that its sender takes for success; a second time it is a duplicate.
func TestEveryPresetHasASample(t *testing.T) {
	t.Parallel()
	a, schemes := startSenders(t)
	send := func(args ...string) (code int, out string) {
		var printed bytes.Buffer
		commands := &courierCommands{
			target: func(_ *cobra.Command, name string) (bench.Target, error) {
				settings, err := a.cfg.Signing(name, jwks.At)
				courier := a.cfg.Couriers[name]
				return bench.Target{Courier: name, URL: a.publicURL(), Signature: settings, Mapped: !courier.Canonical(), Preset: courier.Preset}, err
			},
			progress: func(string, int) progress { return &counter{} },
			in:       &printed, out: &printed, err: &printed, now: time.Now,
		}
		cmd := commands.send()
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetArgs(args)
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			return 1, printed.String() + err.Error()
		}
		return 0, printed.String()
	}
	for _, name := range slices.Sorted(maps.Keys(schemes)) {
		want := fmt.Sprintf("%d ", a.cfg.Couriers[name].SuccessStatus)
		for range 2 {
			if code, out := send("--courier", name, "--sample"); code != 0 || !strings.HasPrefix(out, want) {
				t.Errorf("%s: exit %d, %s", name, code, out)
			}
		}
	}
	if code, out := send("--courier", "easypost", "--sample", "file.json"); code == 0 || !strings.Contains(out, "not both") {
		t.Errorf("a sample and a file: %s", out)
	}
}
