package client

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ops"
	"github.com/fincart/courier-gateway/ops/admin"
	"github.com/fincart/courier-gateway/ops/admintest"
)

func TestBaseURL(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"127.0.0.1:8081":           "http://127.0.0.1:8081",
		":8081":                    "http://127.0.0.1:8081",
		"0.0.0.0:8081":             "http://127.0.0.1:8081",
		"[::]:8081":                "http://[::1]:8081",
		"[::1]:8081":               "http://[::1]:8081",
		"gateway.example:8081":     "http://gateway.example:8081",
		"https://gw.example/admin": "https://gw.example/admin",
	} {
		if got, err := baseURL(address); err != nil || got.String() != want {
			t.Errorf("%q: %v, %v; want %s", address, got, err, want)
		}
	}
	for _, address := range []string{"", "localhost", "127.0.0.1:0", ":", "ftp://x", "http://"} {
		if got, err := baseURL(address); err == nil || !strings.Contains(err.Error(), "--admin-listen") {
			t.Errorf("%q: %v, %v", address, got, err)
		}
	}
}

// newClient returns a client of address with a short time-out.
func newClient(t *testing.T, address string) *Client {
	t.Helper()
	c, err := New(Config{Address: address, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientSaysWhatToDo(t *testing.T) {
	t.Parallel()
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts by the backlog, never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }))
	defer page.Close()
	elsewhere := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
	defer elsewhere.Close()
	otherJSON := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(404)
		_, _ = io.WriteString(w, `{"error":"no"}`)
	}))
	defer otherJSON.Close()

	secured := httptest.NewUnstartedServer(http.NotFoundHandler())
	secured.Config.ErrorLog = log.New(io.Discard, "", 0)
	secured.StartTLS()
	defer secured.Close()

	for name, c := range map[string]struct{ address, want string }{
		"plain to HTTPS": {secured.Listener.Addr().String(), "speaks HTTPS: set --admin-listen or APPLIANCE_ADMIN__LISTEN to https://" + secured.Listener.Addr().String()},
		"untrusted":      {secured.URL, secured.Listener.Addr().String() + " answers, but its certificate is not trusted (x509: "},
		"HTTPS to plain": {"https://" + page.Listener.Addr().String(), "speaks plain HTTP, and is asked by HTTPS"},
		"refused":        {refused.Addr().String(), "no appliance answers at " + refused.Addr().String() + ": is `appliance serve` running? set --admin-listen or APPLIANCE_ADMIN__LISTEN"},
		"silent":         {silent.Addr().String(), "did not answer within 2s"},
		"html":           {page.URL, "is it another program's port?"},
		"redirect":       {elsewhere.URL, "(status 302), but not as an appliance's admin listener"},
		"other JSON":     {otherJSON.URL, "(status 404), but not as an appliance's admin listener"},
	} {
		_, err := newClient(t, c.address).Status(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := newClient(t, c.address).Health(t.Context()); err == nil {
			t.Errorf("%s: Health succeeds", name)
		}
	}
}

func TestClientNamesAnotherCertificate(t *testing.T) {
	t.Parallel()
	secured := httptest.NewUnstartedServer(http.NotFoundHandler())
	secured.Config.ErrorLog = log.New(io.Discard, "", 0)
	secured.StartTLS()
	defer secured.Close()
	file := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(file, []byte("not this one"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Address: secured.URL, Timeout: 2 * time.Second, CertFile: file})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Status(t.Context())
	if err == nil || !strings.Contains(err.Error(), "answers, but its certificate is not trusted (it shows another certificate than that in "+file+"): ") {
		t.Error(err)
	}
}

func TestClientReturnsProblems(t *testing.T) {
	t.Parallel()
	c := newClient(t, admintest.Start(t, admin.DefaultConfig(), admintest.Sample().Deps()))
	_, err := c.Event(t.Context(), "shared", "")
	p, ok := errors.AsType[*ops.Problem](err)
	if !ok || p.Code != ops.Ambiguous || len(p.Couriers) != 2 || p.TraceID == "" {
		t.Errorf("%v: %+v", err, p)
	}
}

func TestClientGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	c := newClient(t, admintest.Start(t, admin.DefaultConfig(), admintest.Sample().Deps()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Status(ctx); err == nil || !strings.Contains(err.Error(), "stopped waiting") {
		t.Errorf("%v", err)
	}
}

func TestClientKeepsOddKeys(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	keys := []string{"a/b", "a//b", "/", "..", "50%", "%2F", "ключ", "a?b#c&d=e+f", "\x00\n", strings.Repeat("/", 512)}
	for _, key := range keys {
		m.Records = append(m.Records, event.Record{Identity: event.Identity{Courier: "odd", Key: key}})
		m.Shipments = append(m.Shipments, shipment.Shipment{Ref: shipment.Ref{Courier: "odd", ID: key}})
	}
	c := newClient(t, admintest.Start(t, admin.DefaultConfig(), m.Deps()))
	for _, key := range keys {
		if r, err := c.Event(t.Context(), key, "odd"); err != nil || r.Key != key {
			t.Errorf("event %q: %q, %v", key, r.Key, err)
		}
		if s, err := c.Shipment(t.Context(), key, "odd"); err != nil || s.ID != key {
			t.Errorf("shipment %q: %q, %v", key, s.ID, err)
		}
	}
}

func TestClientBehindAPath(t *testing.T) {
	t.Parallel()
	server, err := admin.New(admin.DefaultConfig(), admintest.Sample().Deps())
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(http.StripPrefix("/admin", server))
	defer front.Close()
	if _, err := newClient(t, front.URL+"/admin/").Event(t.Context(), "demo:evt_1", ""); err != nil {
		t.Error(err)
	}
}

func TestClientOfTheIntake(t *testing.T) {
	t.Parallel()
	m := admintest.Sample()
	c := newClient(t, admintest.Start(t, admin.DefaultConfig(), m.Deps()))
	page, err := c.Rejections(t.Context(), ingestion.Filter{Courier: "demo", Code: event.InvalidSignature, Open: true, Limit: 1})
	if err != nil || !slices.Equal(ids(page), []string{admintest.RefusedID}) || page.Next != admintest.RefusedID {
		t.Errorf("%v, next %q, %v", ids(page), page.Next, err)
	}
	page, err = c.Ingestions(t.Context(), ingestion.Filter{Outcomes: []ingestion.Outcome{ingestion.Accepted, ingestion.Observed}, After: admintest.RefusedID})
	if err != nil || !slices.Equal(ids(page), []string{admintest.ObservedID, admintest.AcceptedID}) {
		t.Errorf("%v, %v", ids(page), err)
	}
	var all []string
	for page, err := range c.RejectionPages(t.Context(), ingestion.Filter{Limit: 4}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, ids(page)...)
	}
	if want := []string{admintest.RefusedID, admintest.ObservedID, admintest.LaterAcceptedID, admintest.CutID, admintest.RedactedID, admintest.AggregateID}; !slices.Equal(all, want) {
		t.Errorf("all pages have %v, want %v", all, want)
	}
	record, err := c.Rejection(t.Context(), admintest.RefusedID)
	if err != nil || !reflect.DeepEqual(record, m.Intake.Record(admintest.RefusedID)) {
		t.Errorf("%+v, %v", record, err)
	}
	accepted, err := c.Accept(t.Context(), admintest.RedactedID, true)
	if err != nil || accepted.KeyID != ingestion.KeyIDOperator || accepted.Key != m.Intake.Record(admintest.RedactedID).AcceptedKey {
		t.Errorf("%+v, %v", accepted, err)
	}
	_, err = c.Accept(t.Context(), admintest.RedactedID, true)
	if p, ok := errors.AsType[*ops.Problem](err); !ok || p.Code != ops.AlreadyAccepted || p.Key != accepted.Key {
		t.Errorf("again: %v", err)
	}
	couriers, err := c.Couriers(t.Context())
	if err != nil || len(couriers.Couriers) != 4 || couriers.Couriers[3].PublicKeys.Count != 2 {
		t.Errorf("%+v, %v", couriers, err)
	}
	report, err := c.Reload(t.Context())
	if err != nil || !reflect.DeepEqual(report, m.Intake.Report) {
		t.Errorf("%+v, %v", report, err)
	}
}

// ids returns the ids of a page's records.
func ids(page ops.IngestionPage) (list []string) {
	for _, r := range page.Records {
		list = append(list, r.ID)
	}
	return list
}
