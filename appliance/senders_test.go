package main

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/appliance/config/sendertest"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// startSenders starts an appliance with a courier for each preset, named like it,
// and returns how each of them signs.
func startSenders(t *testing.T) (*testApp, map[string]*signature.Scheme) {
	t.Helper()
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return "file:" + path
	}
	key := sendertest.RSAKeys()[0]
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pair := file("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	public := file("keys.json", fmt.Appendf(nil, `{"keys":[{"kty":"RSA","use":"sig","kid":"key-1","n":%q,"e":%q}]}`,
		base64.RawURLEncoding.EncodeToString(key.N.Bytes()), base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes())))
	document := ""
	for name, p := range sendertest.Presets(t) {
		document += fmt.Sprintf("[couriers.%s]\npreset = %q\n", name, name)
		if p.Courier.JWKS != "" {
			document += fmt.Sprintf("jwks = %q\nprivate_key = %q\nprivate_key_id = \"key-1\"\n", public, pair)
			continue
		}
		secret := sendertest.Complete(t, p.Courier.SignatureSettings(), 0).Secrets[0].Key
		document += fmt.Sprintf("secrets = [%q]\n", file(name, secret))
	}
	l := sendertest.Load(t, document)
	if err := l.Check(); err != nil {
		t.Fatal(err)
	}
	cfg := quick(t)
	cfg.Couriers = l.Couriers
	a := startApp(t, cfg, nil)
	schemes, err := cfg.Schemes(jwks.At)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range cfg.Couriers {
		if c.JWKS != "" {
			eventually(t, "the public keys of "+name, func() bool { return a.publicKeys(name) == 1 })
		}
	}
	return a, schemes
}

// postAs signs a case as its sender does and posts it.
func (a *testApp) postAs(courier string, s *signature.Scheme, c sendertest.Case, at time.Time) (status int, answer string, sent *sendertest.Request) {
	a.t.Helper()
	r := c.Signed(a.t, courier, s, at)
	address := a.publicURL() + "/v1/events/courier/" + courier
	if r.RawQuery != "" {
		address += "?" + r.RawQuery
	}
	req, err := http.NewRequest(http.MethodPost, address, bytes.NewReader(r.RawBody))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for _, h := range r.RawHeaders {
		req.Header.Set(h.Name, h.Value)
	}
	resp, err := client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return resp.StatusCode, string(text), r
}

// TestEverySenderFromHTTPToShipment sends every preset's payloads as its sender
// does, and looks at the shipments that they lead to.
func TestEverySenderFromHTTPToShipment(t *testing.T) {
	t.Parallel()
	a, schemes := startSenders(t)
	for _, name := range slices.Sorted(maps.Keys(schemes)) {
		known := map[string]wantedShipment{}
		for _, c := range sendertest.Cases(t, name) {
			if c.Path != "" {
				continue // signed for another address than a test can have
			}
			now := time.Now()
			status, answer, sent := a.postAs(name, schemes[name], c, now)
			if status != a.cfg.Couriers[name].SuccessStatus {
				t.Errorf("%s, %s: answered %d: %s", name, c.Name, status, answer)
				continue
			}
			want := known[c.Want.ShipmentID]
			want.expect(c.Want, now)
			known[c.Want.ShipmentID] = want
			a.leadsTo(name, c, sent.RawBody, want)
		}
	}
}

// TestHeadersOnTheWire: names in any case and white space around values are HTTP's
// business; a header too few or too many is the scheme's, for every preset.
func TestHeadersOnTheWire(t *testing.T) {
	t.Parallel()
	a, schemes := startSenders(t)
	for name, s := range schemes {
		cases := sendertest.Cases(t, name)
		i := slices.IndexFunc(cases, func(c sendertest.Case) bool { return c.Path == "" })
		if i < 0 {
			continue // signed for another address than a test can have
		}
		r := cases[i].Signed(t, name, s, time.Now())
		good := a.cfg.Couriers[name].SuccessStatus
		expect := func(what string, want int, headers ...signature.Header) {
			t.Helper()
			if got := a.onTheWire(name, r, headers); got != want {
				t.Errorf("%s, %s: answered %d, want %d", name, what, got, want)
			}
		}
		expect("as signed", good, r.RawHeaders...)
		for _, header := range s.Headers() {
			value, count := r.Header(header)
			if count == 0 {
				continue // another name of one that is there
			}
			rest := slices.DeleteFunc(slices.Clone(r.RawHeaders), func(h signature.Header) bool { return strings.EqualFold(h.Name, header) })
			with := func(name, value string) []signature.Header {
				return append(slices.Clone(rest), signature.Header{Name: name, Value: value})
			}
			expect(header+" in lower case", good, with(strings.ToLower(header), string(value))...)
			expect(header+" in upper case", good, with(strings.ToUpper(header), string(value))...)
			expect("white space around "+header, good, with(header, " \t"+string(value)+" \t")...)
			expect("no "+header, http.StatusUnauthorized, rest...)
			expect("an empty "+header, http.StatusUnauthorized, with(header, "")...)
			expect(header+" twice", http.StatusUnauthorized, append(with(header, string(value)), signature.Header{Name: header, Value: string(value)})...)
			expect(header+" twice, in two cases", http.StatusUnauthorized, append(with(strings.ToLower(header), string(value)), signature.Header{Name: strings.ToUpper(header), Value: string(value)})...)
		}
	}
}

// onTheWire posts a request with these headers, as they are, and returns the status of
// the answer.
func (a *testApp) onTheWire(courier string, r *sendertest.Request, headers []signature.Header) int {
	a.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.publicURL(), "http://"))
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.Close()
	var raw bytes.Buffer
	fmt.Fprintf(&raw, "POST /v1/events/courier/%s?%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", courier, r.RawQuery, len(r.RawBody))
	for _, h := range headers {
		fmt.Fprintf(&raw, "%s:%s\r\n", h.Name, h.Value)
	}
	raw.WriteString("\r\n")
	raw.Write(r.RawBody)
	if _, err := conn.Write(raw.Bytes()); err != nil {
		a.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// wantedShipment is what the cases that were sent so far mean for a shipment.
type wantedShipment struct {
	state         shipment.State
	status, order string
	at            time.Time
}

// expect takes in a case that was sent at now. The fixtures keep to the plain rules: what
// is newer counts, by rank at the same instant; a status that is not mapped is the
// courier's last word, and moves nothing; the end of a journey stays.
func (s *wantedShipment) expect(e sendertest.WantedEvent, now time.Time) {
	if s.state == "" {
		s.state = shipment.Unknown
	}
	s.order = cmp.Or(s.order, e.OrderID)
	at := e.OccurredAt
	if at.IsZero() {
		at = now
	}
	if e.State == "" || at.Before(s.at) || at.Equal(s.at) && e.State.Rank() < s.state.Rank() {
		return
	}
	s.status = e.Status
	state := e.State
	if state == shipment.Unknown { // then a push's newest scan that is mapped
		for _, m := range slices.SortedFunc(slices.Values(e.Checkpoints), func(a, b sendertest.WantedMoment) int { return a.OccurredAt.Compare(b.OccurredAt) }) {
			if m.State != "" && m.State != shipment.Unknown {
				state = m.State
			}
		}
	}
	if state == shipment.Unknown || s.state.Terminal() && state == s.state {
		return
	}
	s.state, s.at, s.order = state, at, cmp.Or(e.OrderID, s.order)
}

// moments are what the event adds to its shipment's history.
func momentsOf(e *sendertest.WantedEvent) []sendertest.WantedMoment {
	if len(e.Checkpoints) == 0 && e.State != "" {
		return []sendertest.WantedMoment{{OccurredAt: e.OccurredAt, State: e.State, Status: e.Status}}
	}
	return e.Checkpoints
}

// leadsTo checks that an accepted case is processed and in its shipment's history, and
// that the shipment is what it is wanted to be.
func (a *testApp) leadsTo(courier string, c sendertest.Case, body []byte, want wantedShipment) {
	a.t.Helper()
	key := c.Want.Key
	if key == "sha256:body" {
		key = event.BodyHash(body)
	}
	var r event.Record
	eventually(a.t, courier+", "+c.Name+" to be processed", func() bool {
		return a.get("/api/v1/events/"+url.PathEscape(key)+"?courier="+courier, &r) && r.Status.Terminal()
	})
	if r.Status != event.Processed || r.ShipmentID != c.Want.ShipmentID {
		a.t.Errorf("%s, %s: the ledger has %s", courier, c.Name, asJSON(r))
	}
	var s shipment.Shipment
	if !a.get("/api/v1/shipments/"+url.PathEscape(c.Want.ShipmentID)+"?courier="+courier, &s) {
		a.t.Fatalf("%s, %s: there is no shipment %s", courier, c.Name, c.Want.ShipmentID)
	}
	if s.State != want.state || s.RawStatus != want.status || s.OrderID != want.order {
		a.t.Errorf("%s, %s: the shipment is %s (%q) of order %q, want %s (%q) of %q",
			courier, c.Name, s.State, s.RawStatus, s.OrderID, want.state, want.status, want.order)
	}
	for _, m := range momentsOf(&c.Want) {
		if !slices.ContainsFunc(s.History, func(h shipment.Checkpoint) bool {
			return h.State == m.State && h.Status == m.Status && (m.OccurredAt.IsZero() || h.At.Equal(m.OccurredAt))
		}) {
			a.t.Errorf("%s, %s: the history lacks %+v: %s", courier, c.Name, m, asJSON(s))
		}
	}
}

// trackerUpdate is EasyPost's payload with this status and these checkpoints, each
// "status time".
func trackerUpdate(id, status, at string, checkpoints ...string) sendertest.Case {
	details := []string{}
	for _, c := range checkpoints {
		s, when, _ := strings.Cut(c, " ")
		details = append(details, fmt.Sprintf(`{"status":%q,"datetime":%q}`, s, when))
	}
	return sendertest.CaseOf(fmt.Appendf(nil,
		`{"id":%q,"description":"tracker.updated","result":{"tracking_code":"T1","status":%q,"updated_at":%q,"carrier":"USPS","tracking_details":[%s]}}`,
		id, status, at, strings.Join(details, ",")))
}

// TestOrderDoesNotMatter sends one shipment's events in the wrong order, at one
// instant, after its delivery, and the same history twice.
func TestOrderDoesNotMatter(t *testing.T) {
	t.Parallel()
	a, schemes := startSenders(t)
	whole := []string{
		"pre_transit 2026-02-28T10:00:00Z", "in_transit 2026-03-01T10:00:00Z", "delivered 2026-03-02T10:00:00Z",
		"in_transit 2026-03-05T10:00:00Z", "return_to_sender 2026-03-06T10:00:00Z",
	}
	const returned = "info_received in_transit out_for_delivery delivered in_transit returned"
	for _, step := range []struct {
		push    sendertest.Case
		id      string
		state   shipment.State
		leg     int
		history string
	}{
		{trackerUpdate("e1", "delivered", "2026-03-02T10:00:00Z"), "e1", shipment.Delivered, 1, "delivered"},
		{trackerUpdate("e2", "in_transit", "2026-03-01T10:00:00Z"), "e2", shipment.Delivered, 1, "in_transit delivered"},
		// At the instant of the delivery.
		{trackerUpdate("e3", "out_for_delivery", "2026-03-02T10:00:00Z"), "e3", shipment.Delivered, 1, "in_transit out_for_delivery delivered"},
		// On its way back.
		{trackerUpdate("e4", "in_transit", "2026-03-05T10:00:00Z"), "e4", shipment.InTransit, 2, "in_transit out_for_delivery delivered in_transit"},
		{trackerUpdate("e5", "return_to_sender", "2026-03-06T10:00:00Z", whole...), "e5", shipment.Returned, 2, returned},
		{trackerUpdate("e6", "return_to_sender", "2026-03-06T10:00:00Z", whole...), "e6", shipment.Returned, 2, returned},
		// Late, and older than all but the first.
		{trackerUpdate("e7", "failure", "2026-02-28T20:00:00Z"), "e7", shipment.Returned, 2, "info_received exception in_transit out_for_delivery delivered in_transit returned"},
	} {
		if status, answer, _ := a.postAs("easypost", schemes["easypost"], step.push, time.Now()); status != http.StatusOK {
			t.Fatalf("%s: %d %s", step.id, status, answer)
		}
		a.ends(step.id, event.Processed)
		var s shipment.Shipment
		a.get("/api/v1/shipments/T1", &s)
		var states []string
		for _, h := range s.History {
			states = append(states, string(h.State))
		}
		if history := strings.Join(states, " "); s.State != step.state || s.Leg != step.leg || history != step.history {
			t.Errorf("after %s: state %s, leg %d, history %s; want %s, %d, %s", step.id, s.State, s.Leg, history, step.state, step.leg, step.history)
		}
	}
}

// TestNewsInAPushOfTheSameTime: of senders whose pushes hold the whole history, one
// that differs from the push before only in the detail of its status, and in an older
// scan that came to light late, is news. The state is what the push itself says, not what
// a scan of the same instant says.
func TestNewsInAPushOfTheSameTime(t *testing.T) {
	t.Parallel()
	a, schemes := startSenders(t)
	const shippo = `{"event":"track_updated","data":{"carrier":"usps","tracking_number":"P1","tracking_status":{"status":"TRANSIT","status_date":"2026-03-02T10:00:00Z"%s},"tracking_history":[%s{"status":"TRANSIT","status_date":"2026-03-02T10:00:00Z"%s}]}}`
	const shippoLate = `{"status":"PRE_TRANSIT","status_date":"2026-03-01T10:00:00Z"},`
	const shippoDetail = `,"substatus":{"code":"out_for_delivery"}`
	const engine = `{"resource_type":"API_TRACK","data":{"tracking_number":"P1","status_code":"IT","carrier_code":"ups","events":[{"occurred_at":"2026-03-02T10:00:00Z","status_code":"IT"}%s]}}`
	const engineNews = `,{"occurred_at":"2026-03-02T10:00:00Z","status_code":"AT"},{"occurred_at":"2026-03-01T10:00:00Z","status_code":"AC"}`
	const fedex = `{"output":{"completeTrackResults":[{"trackingNumber":"P1","trackResults":[{"latestStatusDetail":{"derivedCode":"IT"},"scanEvents":[{"date":"2026-03-02T10:00:00+00:00","derivedStatusCode":"IT"}%s]}]}]}}`
	const dhl = `{"packages":[{"package":{"dhlPackageId":"P1"},"events":[{"date":"2026-03-02","time":"05:00:00","primaryEventDescription":"EN ROUTE"}%s]}]}`
	for name, c := range map[string]struct {
		first, second string
		history       []shipment.State
		state         shipment.State
	}{
		"shippo": {
			fmt.Sprintf(shippo, "", "", ""), fmt.Sprintf(shippo, shippoDetail, shippoLate, shippoDetail),
			[]shipment.State{shipment.InfoReceived, shipment.InTransit, shipment.OutForDelivery}, shipment.OutForDelivery,
		},
		"shippo-token": {
			fmt.Sprintf(shippo, "", "", ""), fmt.Sprintf(shippo, shippoDetail, shippoLate, shippoDetail),
			[]shipment.State{shipment.InfoReceived, shipment.InTransit, shipment.OutForDelivery}, shipment.OutForDelivery,
		},
		"shipengine":  {fmt.Sprintf(engine, ""), fmt.Sprintf(engine, engineNews), []shipment.State{shipment.InfoReceived, shipment.InTransit, shipment.AttemptFailed}, shipment.InTransit},
		"shipstation": {fmt.Sprintf(engine, ""), fmt.Sprintf(engine, engineNews), []shipment.State{shipment.InfoReceived, shipment.InTransit, shipment.AttemptFailed}, shipment.InTransit},
		"aymakan": {
			`{"tracking_number":"P1","status":"AY-0003","date_time":"2026-03-02T10:00:00Z","tracking_info":[{"status_code":"AY-0003","created_at":"2026-03-02 13:00:00"}]}`,
			`{"tracking_number":"P1","status":"AY-0003","date_time":"2026-03-02T10:00:00Z","tracking_info":[{"status_code":"AY-0003","created_at":"2026-03-02 13:00:00"},{"status_code":"AY-0004","created_at":"2026-03-02 13:00:00"},{"status_code":"AY-0001","created_at":"2026-03-01 13:00:00"}]}`,
			[]shipment.State{shipment.InfoReceived, shipment.InTransit, shipment.OutForDelivery}, shipment.InTransit,
		},
		"shiprocket": {
			`{"awb":"P1","courier_name":"D","current_status":"SHIPPED","current_timestamp":"02 03 2026 10:00:00","scans":[{"date":"2026-03-02 10:00:00","sr-status-label":"SHIPPED"}]}`,
			`{"awb":"P1","courier_name":"D","current_status":"SHIPPED","current_timestamp":"02 03 2026 10:00:00","scans":[{"date":"2026-03-02 10:00:00","sr-status-label":"SHIPPED"},{"date":"2026-03-02 10:00:00","sr-status-label":"OUT FOR DELIVERY"},{"date":"2026-03-01 10:00:00","sr-status-label":"PICKUP SCHEDULED"}]}`,
			[]shipment.State{shipment.InfoReceived, shipment.InTransit, shipment.OutForDelivery}, shipment.InTransit,
		},
		"fedex": {
			fmt.Sprintf(fedex, ""), fmt.Sprintf(fedex, `,{"date":"2026-03-02T10:00:00+00:00","derivedStatusCode":"OD"},{"date":"2026-03-01T10:00:00+00:00","derivedStatusCode":"OC"}`),
			[]shipment.State{shipment.InfoReceived, shipment.InTransit, shipment.OutForDelivery}, shipment.InTransit,
		},
		"dhl-ecommerce": {
			fmt.Sprintf(dhl, ""), fmt.Sprintf(dhl, `,{"date":"2026-03-02","time":"05:00:00","primaryEventDescription":"OUT FOR DELIVERY"},{"date":"2026-03-01","time":"05:00:00","primaryEventDescription":"LABEL CREATED"}`),
			[]shipment.State{shipment.InfoReceived, shipment.InTransit, shipment.OutForDelivery}, shipment.OutForDelivery,
		},
	} {
		for _, body := range []string{c.first, c.second} {
			if status, answer, _ := a.postAs(name, schemes[name], sendertest.CaseOf([]byte(body)), time.Now()); status != a.cfg.Couriers[name].SuccessStatus {
				t.Fatalf("%s: answered %d %s", name, status, answer)
			}
		}
		eventually(t, name+"'s second push in the history", func() bool {
			var s shipment.Shipment
			var states []shipment.State
			a.get("/api/v1/shipments/P1?courier="+name, &s)
			for _, h := range s.History {
				states = append(states, h.State)
			}
			return slices.Equal(states, c.history) && s.State == c.state
		})
	}
}

// TestPushesOfSeveralParcels: of a push with more parcels than an event can hold
// nothing is lost, and an operator can have the first one applied.
func TestPushesOfSeveralParcels(t *testing.T) {
	t.Parallel()
	a, schemes := startSenders(t)
	single := a.cfg
	single.Couriers = maps.Clone(a.cfg.Couriers)
	for name, body := range map[string]string{
		"dhl-ecommerce": `{"packages":[{"package":{"dhlPackageId":"P1"},"events":[{"date":"2026-03-02","time":"05:00:00","primaryEventDescription":"EN ROUTE"}]},{"package":{"dhlPackageId":"P2"},"events":[]}]}`,
		"fedex":         `{"output":{"completeTrackResults":[{"trackingNumber":"P1","trackResults":[{"scanEvents":[{"date":"2026-03-02T10:00:00+00:00","derivedStatusCode":"IT"}]}]},{"trackingNumber":"P2"}]}}`,
	} {
		status, answer, sent := a.postAs(name, schemes[name], sendertest.CaseOf([]byte(body)), time.Now())
		if status != a.cfg.Couriers[name].SuccessStatus {
			t.Fatalf("%s: answered %d %s", name, status, answer)
		}
		key := event.BodyHash(sent.RawBody)
		a.ends(key, event.DeadLettered)
		letters := a.deadLetters(key)
		if len(letters) != 1 || letters[0].Code != event.DomainInvalid || !strings.Contains(letters[0].Message, "[1]: is not read") {
			t.Fatalf("%s: dead letters are %s", name, asJSON(letters))
		}
		c := single.Couriers[name]
		c.Event.Single = nil
		single.Couriers[name] = c
		a.reread = func() (config.Config, []string, error) { return single, nil, nil }
		if code, out := a.cli("couriers", "reload"); code != 0 {
			t.Fatalf("couriers reload: exit %d: %s", code, out)
		}
		if code, out := a.cli("dlq", "replay", letters[0].ID, "--yes"); code != 0 {
			t.Fatalf("dlq replay: exit %d: %s", code, out)
		}
		a.ends(key, event.Processed)
		var s shipment.Shipment
		if !a.get("/api/v1/shipments/P1?courier="+name, &s) || s.State != shipment.InTransit {
			t.Errorf("%s: the first parcel's shipment is %s", name, asJSON(s))
		}
	}
}

// TestCorrectedSecretTakesInWhatWasRefused goes the way of an operator: a request
// is refused, explained, the secret corrected, the request accepted by hand.
func TestCorrectedSecretTakesInWhatWasRefused(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	settings := configFile(t, fmt.Sprintf("[couriers.parcels]\npreset = \"easypost\"\nsecrets = [%q]\n", "file:"+secret))
	write := func(text string) {
		if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("not the secret")
	l, err := config.Load(settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := quick(t)
	cfg.Couriers = l.Couriers
	a := startApp(t, cfg, nil)
	a.reread = func() (config.Config, []string, error) { return cfg, nil, nil }

	write("the secret")
	schemes, err := cfg.Schemes(jwks.At)
	if err != nil {
		t.Fatal(err)
	}
	c := trackerUpdate("late", "in_transit", "2026-03-01T10:00:00Z")
	if status, _, _ := a.postAs("parcels", schemes["parcels"], c, time.Now()); status != http.StatusUnauthorized {
		t.Fatalf("with the wrong secret the answer is %d", status)
	}
	var page struct {
		Records []ingestion.Record `json:"records"`
	}
	eventually(t, "the refusal to be on record", func() bool {
		_, out := a.cli("rejections", "list", "--courier", "parcels", "--json")
		return json.Unmarshal([]byte(out), &page) == nil && len(page.Records) == 1
	})
	id := page.Records[0].ID
	_, shown := a.cli("rejections", "show", id, "--json")
	captured := configFile(t, shown)

	write("not the secret")
	if code, out := a.cli("couriers", "test", "parcels", captured, "--config", settings); code != 1 || !strings.Contains(out, "mismatch") {
		t.Errorf("couriers test: exit %d: %s", code, out)
	}
	if code, out := a.cli("rejections", "accept", id, "--yes"); code != 1 || !strings.Contains(out, "does not match") {
		t.Errorf("accepting with the wrong secret: exit %d: %s", code, out)
	}
	write("the secret")
	if code, out := a.cli("couriers", "test", "parcels", captured, "--config", settings); code != 0 || !strings.Contains(out, "key late") {
		t.Errorf("couriers test: exit %d: %s", code, out)
	}
	if code, out := a.cli("couriers", "reload"); code != 0 {
		t.Fatalf("couriers reload: exit %d: %s", code, out)
	}
	if code, out := a.cli("rejections", "accept", id, "--yes"); code != 0 {
		t.Fatalf("rejections accept: exit %d: %s", code, out)
	}
	a.ends("late", event.Processed)
	if code, out := a.cli("rejections", "accept", id, "--yes"); code != 1 || !strings.Contains(out, "late") {
		t.Errorf("accepting it again: exit %d: %s", code, out)
	}
	if _, out := a.cli("rejections", "list", "--open"); strings.Contains(out, id) {
		t.Errorf("it is still open: %s", out)
	}
}

// TestObservedCourier: a guessed scheme on live traffic loses nothing, and
// every listing shows it.
func TestObservedCourier(t *testing.T) {
	t.Parallel()
	settings := configFile(t, "[couriers.guess]\npreset = \"easypost\"\nmode = \"observe\"\nsecrets = [\""+string(secretFile(t, "a guess"))+"\"]\n")
	l, err := config.Load(settings, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := quick(t)
	cfg.Couriers = l.Couriers
	a := startApp(t, cfg, nil)
	req, err := http.NewRequest(http.MethodPost, a.publicURL()+"/v1/events/courier/guess", bytes.NewReader(trackerUpdate("seen", "delivered", "2026-03-01T10:00:00Z").Body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("an unsigned request in observe mode is answered %d", resp.StatusCode)
	}
	a.ends("seen", event.Processed)
	eventually(t, "the request to be on record as observed", func() bool {
		_, out := a.cli("rejections", "list", "--outcome", "observed", "--json")
		return strings.Contains(out, `"missing"`)
	})
	if h := a.health(); h["status"] != "degraded" {
		t.Errorf("health is %v", h)
	}
	for _, args := range [][]string{{"couriers", "list"}, {"status"}, {"health"}} {
		if _, out := a.cli(args...); !strings.Contains(strings.ToLower(out), "observ") {
			t.Errorf("%v does not show observe mode: %s", args, out)
		}
	}
	if !strings.Contains(a.logs.String(), "observe mode") {
		t.Errorf("the log does not show observe mode")
	}
}

// TestUnreadablePayloadWaitsForItsMapping: in observe mode what the mapping can't
// read becomes a dead letter, which is replayed once the mapping is right.
func TestUnreadablePayloadWaitsForItsMapping(t *testing.T) {
	t.Parallel()
	secret := string(secretFile(t, "a secret"))
	courier := func(status string) map[string]config.Courier {
		return sendertest.Load(t, fmt.Sprintf("[couriers.guess]\npreset = \"easypost\"\nmode = \"observe\"\nsecrets = [%q]\nevent.shipment_id = [%q]\n", secret, status)).Couriers
	}
	cfg := quick(t)
	cfg.Couriers = courier("{result.code}") // which is not there
	a := startApp(t, cfg, nil)
	schemes, err := cfg.Schemes(jwks.At)
	if err != nil {
		t.Fatal(err)
	}
	c := trackerUpdate("e1", "delivered", "2026-03-01T10:00:00Z")
	if status, answer, _ := a.postAs("guess", schemes["guess"], c, time.Now()); status != http.StatusOK {
		t.Fatalf("answered %d: %s", status, answer)
	}
	key := event.BodyHash(c.Body)
	a.ends(key, event.DeadLettered)
	letters := a.deadLetters(key)
	if len(letters) != 1 || letters[0].Code != event.DomainInvalid || !strings.Contains(letters[0].Message, "result.code") {
		t.Fatalf("dead letters are %s", asJSON(letters))
	}
	right := cfg
	right.Couriers = courier("{result.tracking_code}")
	a.reread = func() (config.Config, []string, error) { return right, nil, nil }
	if code, out := a.cli("couriers", "reload"); code != 0 {
		t.Fatalf("couriers reload: exit %d: %s", code, out)
	}
	if code, out := a.cli("dlq", "replay", letters[0].ID, "--yes"); code != 0 {
		t.Fatalf("dlq replay: exit %d: %s", code, out)
	}
	a.ends(key, event.Processed)
	var s shipment.Shipment
	if !a.get("/api/v1/shipments/T1", &s) || s.State != shipment.Delivered {
		t.Errorf("the shipment is %s", asJSON(s))
	}
}
