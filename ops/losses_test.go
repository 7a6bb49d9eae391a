package ops

import (
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestLosses(t *testing.T) {
	t.Parallel()
	m := sample()
	address := start(t, DefaultAdminConfig(), m.deps())
	if list := read[LossList](t, address, lossesPath); len(list.Losses) != 3 || list.Losses[1].Events != 7 {
		t.Errorf("losses are %+v", list)
	}
	acknowledge := func(id, body string) request {
		return request{method: "POST", path: lossesPath + "/" + id + "/acknowledge", body: body, header: map[string]string{"Content-Type": "application/json"}}
	}
	if resp, body := acknowledge("2", `{"note":"asked"}`).send(t, address); resp.status != 200 || !strings.Contains(body, `"note":"asked"`) {
		t.Errorf("acknowledge: %d %s", resp.status, body)
	}
	if l := m.Losses()[1]; l.AcknowledgedAt.IsZero() || l.Note != "asked" {
		t.Errorf("the loss is %+v", l)
	}
	acknowledge("9", "").refused(t, address, 404, event.NotFound)
	acknowledge("2", `{"notes":"x"}`).refused(t, address, 400, event.BadRequest)
	acknowledge("2", `{"note":"`+strings.Repeat("x", MaxNoteBytes+1)+`"}`).refused(t, address, 400, event.BadRequest)
	m.fault = event.Errorf(event.Internal, "store the list of losses", "no space left on device")
	acknowledge("2", "").refused(t, address, 500, event.Internal)
}

func TestAcknowledgeLosses(t *testing.T) {
	t.Parallel()
	m := sample()
	c := cli{address: start(t, DefaultAdminConfig(), m.deps())}
	if stdout, stderr, code := c.run(t, "queue", "acknowledge-loss", "--all", "--note", "known", "--yes"); code != 0 || !strings.Contains(stdout, "2 losses acknowledged") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	for i, l := range m.Losses() {
		if old := i == 0; (l.Note == "known") == old || l.AcknowledgedAt.IsZero() {
			t.Errorf("loss %+v", l)
		}
	}
	if _, stderr, code := c.run(t, "queue", "acknowledge-loss", "9", "--yes"); code != 1 || !strings.Contains(stderr, "no loss") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	c.terminal, c.stdin = true, "n\n"
	if _, stderr, code := c.run(t, "queue", "acknowledge-loss", "2"); code != 1 || !strings.Contains(stderr, "Acknowledge 1 loss? [y/N]") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
