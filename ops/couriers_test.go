package ops

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestCouriersInForce(t *testing.T) {
	t.Parallel()
	m := sample()
	address := start(t, DefaultAdminConfig(), m.deps())
	want := sampleCouriers()
	want[3].Keys = []KeyInfo{}
	if got := read[CourierList](t, address, "/api/v1/couriers").Couriers; !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v, want\n%+v", got, want)
	}
	if got := read[Status](t, address, "/api/v1/status").Observing; !slices.Equal(got, []string{"open"}) {
		t.Errorf("observing %v", got)
	}
	m.intake.couriers = nil
	if _, body := (request{path: "/api/v1/couriers"}).send(t, address); body != `{"couriers":[]}`+"\n" {
		t.Errorf("without any: %s", body)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	m := sample()
	address := start(t, DefaultAdminConfig(), m.deps())
	reload := request{method: "POST", path: "/api/v1/couriers/reload"}
	if resp, body := reload.send(t, address); resp.status != 200 || body != `{"couriers":4,"changed":["ingest.listen","log.level"]}`+"\n" {
		t.Errorf("%d %s", resp.status, body)
	}
	m.intake.report = ReloadReport{Couriers: 1}
	if resp, body := reload.send(t, address); resp.status != 200 || body != `{"couriers":1,"changed":[]}`+"\n" {
		t.Errorf("%d %s", resp.status, body)
	}
	m.intake.misconfig = errors.New("couriers.demo.scheme: is none of these\ncouriers.old.secrets: no such file")
	p := reload.refused(t, address, 422, InvalidConfig)
	if !strings.Contains(p.Detail, m.intake.misconfig.Error()) || !strings.Contains(p.Detail, "stay in force") {
		t.Errorf("detail %q", p.Detail)
	}
	m.intake.misconfig = event.Errorf(NotReady, "reload", "draining")
	reload.refused(t, address, 503, NotReady)
}
