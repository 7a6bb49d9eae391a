package admin_test

import (
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/admin"
	"github.com/fincart/courier-gateway/ops/admintest"
)

func TestLosses(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	if list := read[ops.LossList](t, address, ops.LossesPath); len(list.Losses) != 3 || list.Losses[1].Events != 7 {
		t.Errorf("losses are %+v", list)
	}
	acknowledge := func(id, body string) request {
		return request{method: "POST", path: ops.LossesPath + "/" + id + "/acknowledge", body: body, header: map[string]string{"Content-Type": "application/json"}}
	}
	if resp, body := acknowledge("2", `{"note":"asked"}`).send(t, address); resp.status != 200 || !strings.Contains(body, `"note":"asked"`) {
		t.Errorf("acknowledge: %d %s", resp.status, body)
	}
	if l := m.Losses()[1]; l.AcknowledgedAt.IsZero() || l.Note != "asked" {
		t.Errorf("the loss is %+v", l)
	}
	acknowledge("9", "").refused(t, address, 404, event.NotFound)
	acknowledge("2", `{"notes":"x"}`).refused(t, address, 400, event.BadRequest)
	acknowledge("2", `{"note":"`+strings.Repeat("x", ops.MaxNoteBytes+1)+`"}`).refused(t, address, 400, event.BadRequest)
	m.Fault = event.Errorf(event.Internal, "store the list of losses", "no space left on device")
	acknowledge("2", "").refused(t, address, 500, event.Internal)
}
