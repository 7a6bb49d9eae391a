package admin_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/admin"
	"github.com/fincart/courier-gateway/ops/admintest"
)

func TestCouriersInForce(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	want := admintest.Couriers()
	want[3].Keys = []ops.KeyInfo{}
	if got := read[ops.CourierList](t, address, "/api/v1/couriers").Couriers; !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	if got := read[ops.Status](t, address, "/api/v1/status").Observing; !slices.Equal(got, []string{"open"}) {
		t.Errorf("observing %v", got)
	}
	m.Intake.Couriers = nil
	if _, body := (request{path: "/api/v1/couriers"}).send(t, address); body != `{"couriers":[]}`+"\n" {
		t.Errorf("without any: %s", body)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	address := admintest.Start(t, admin.DefaultConfig(), m.Deps())
	reload := request{method: "POST", path: "/api/v1/couriers/reload"}
	if resp, body := reload.send(t, address); resp.status != 200 || body != `{"couriers":4,"changed":["ingest.listen","log.level"]}`+"\n" {
		t.Errorf("%d %s", resp.status, body)
	}
	m.Intake.Report = ops.ReloadReport{Couriers: 1}
	if resp, body := reload.send(t, address); resp.status != 200 || body != `{"couriers":1,"changed":[]}`+"\n" {
		t.Errorf("%d %s", resp.status, body)
	}
	m.Intake.Misconfig = errors.New("couriers.demo.scheme: is none of these\ncouriers.old.secrets: no such file")
	p := reload.refused(t, address, 422, ops.InvalidConfig)
	if !strings.Contains(p.Detail, m.Intake.Misconfig.Error()) || !strings.Contains(p.Detail, "stay active") {
		t.Errorf("detail %q", p.Detail)
	}
	m.Intake.Misconfig = event.Errorf(ops.NotReady, "reload", "draining")
	reload.refused(t, address, 503, ops.NotReady)
}
