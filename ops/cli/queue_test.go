package cli

import (
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ops/admin"
	"github.com/fincart/courier-gateway/ops/admintest"
)

func TestAcknowledgeLosses(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	c := caller{address: admintest.Start(t, admin.DefaultConfig(), m.Deps())}
	if stdout, stderr, code := c.run(t, "queue", "acknowledge-loss", "--all", "--note", "known", "--yes"); code != 0 || !strings.Contains(stdout, "2 losses acknowledged") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	for i, l := range m.Losses() {
		if old := i == 0; (l.Note == "known") == old || l.AcknowledgedAt.IsZero() {
			t.Errorf("loss %+v", l)
		}
	}
	if _, stderr, code := c.run(t, "queue", "acknowledge-loss", "9", "--yes"); code != ExitNotFound || !strings.Contains(stderr, "no loss") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	c.terminal, c.stdin = true, "n\n"
	if _, stderr, code := c.run(t, "queue", "acknowledge-loss", "2"); code != 1 || !strings.Contains(stderr, "Acknowledge 1 loss? [y/N]") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
