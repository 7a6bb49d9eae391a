package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config/sendertest"
	"github.com/fincart/courier-gateway/ingest/signature/jwks"
)

// TestCouriersTestSaysWhatTheIntakeWould judges requests as files have them, each
// with another thing wrong.
func TestCouriersTestSaysWhatTheIntakeWould(t *testing.T) {
	t.Parallel()
	document := fmt.Sprintf("[couriers.parcels]\npreset = \"easypost\"\nsecrets = [%q]\nmax_body_bytes = 2000\nevent.ignore = [{ is_not = [\"tracker.*\"] }]\n", secretFile(t, "a secret"))
	scheme, err := sendertest.Load(t, document).Scheme("parcels", jwks.At)
	if err != nil {
		t.Fatal(err)
	}
	wire := func(method, headers string, body []byte) string {
		for _, h := range scheme.Sign(body, time.Now()) {
			headers += h.Name + ": " + h.Value + "\r\n"
		}
		return fmt.Sprintf("%s /v1/events/courier/parcels HTTP/1.1\r\n%s\r\n%s", method, headers, body)
	}
	const isJSON = "Content-Type: application/json\r\n"
	body := trackerUpdate("e1", "delivered", "2026-03-01T10:00:00Z").Body
	good := wire("POST", isJSON, body)
	forged := strings.Replace(good, "e1", "e2", 1)
	enforce, observe := configFile(t, document), configFile(t, document+"mode = \"observe\"\n")
	probed := configFile(t, document+"handshake = { probe = true, challenge = \"c\" }\n")
	for _, tc := range []struct {
		name, settings, request string
		code                    int
		says                    string
	}{
		{"good", enforce, good, 0, "key e1"},
		{"another body", enforce, forged, 1, "mismatch"},
		{"of another topic", enforce, wire("POST", isJSON, []byte(`{"id":"e3","description":"batch.created"}`)), 0,
			`answered and not queued, because by ignore[0]: the event type is not "tracker.*"; its type is "batch.created"`},
		{"of another topic, forged", enforce, strings.Replace(wire("POST", isJSON, []byte(`{"id":"e3","description":"batch.created"}`)), "e3", "e4", 1), 1, "mismatch"},
		{"one scan that can't be read", enforce, wire("POST", isJSON, []byte(strings.Replace(string(body), "2026-03-01T10:00:00Z", "0000-00-00", 1))), 0, "left out, and the rest counts: result."},
		{"no type", enforce, wire("POST", "", body), 0, "key e1"},
		{"another type", enforce, wire("POST", "Content-Type: text/xml\r\n", body), 1, "UNSUPPORTED_MEDIA_TYPE: the content-type must be"},
		{"another coding", enforce, wire("POST", isJSON+"Content-Encoding: br\r\n", body), 1, "UNSUPPORTED_MEDIA_TYPE: the content-encoding must be identity or gzip"},
		{"said to be packed", enforce, wire("POST", isJSON+"Content-Encoding: gzip\r\n", body), 1, "INVALID_PAYLOAD: the body is not valid gzip: it does not begin as gzip does"},
		{"packed", enforce, wire("POST", isJSON+"Content-Encoding: gzip\r\n", zipped(body)), 0, "key e1"},
		{"a form", enforce, wire("POST", "Content-Type: application/x-www-form-urlencoded\r\n", []byte("payload="+url.QueryEscape(string(body)))), 0, "key e1"},
		{"no probe", enforce, "GET /v1/events/courier/parcels HTTP/1.1\r\n\r\n", 1, "METHOD_NOT_ALLOWED"},
		{"a probe", probed, "GET /v1/events/courier/parcels HTTP/1.1\r\n\r\n", 0, "answered and not queued, with 200, as a probe of the address"},
		{"an empty post", probed, "POST /v1/events/courier/parcels HTTP/1.1\r\n\r\n", 0, "answered and not queued, with 200"},
		{"a challenge", probed, "POST /v1/events/courier/parcels HTTP/1.1\r\n\r\n{\"c\":\"x\"}", 0, "answered and not queued, with the challenge"},
		{"a challenge in an event", probed, strings.Replace(good, "{", `{"c":"x",`, 1), 1, "mismatch"},
		{"no post", enforce, wire("PUT", isJSON, body), 1, "METHOD_NOT_ALLOWED: events are sent by POST"},
		{"too large", enforce, wire("POST", isJSON, append(body, bytes.Repeat([]byte(" "), 2000)...)), 1, "PAYLOAD_TOO_LARGE: the body is larger than 2000 bytes"},
		{"no event", enforce, wire("POST", isJSON, []byte("{}")), 1, "result"},
		{"another body, observed", observe, forged, 0, "in enforce mode it would be refused"},
		{"no event, no type, observed", observe, wire("POST", "", []byte("{}")), 0, "in enforce mode it would be refused"},
		{"too large, observed", observe, wire("POST", isJSON, append(body, bytes.Repeat([]byte(" "), 2000)...)), 1, "PAYLOAD_TOO_LARGE"},
	} {
		var out, errOut bytes.Buffer
		args := []string{"couriers", "test", "parcels", "-", "--config", tc.settings}
		code := run(t.Context(), args, strings.NewReader(tc.request), &out, &errOut)
		if code != tc.code || !strings.Contains(out.String(), tc.says) || (code == 1) != strings.Contains(errOut.String(), "would be refused") {
			t.Errorf("%s: exit %d: %s%s", tc.name, code, out.String(), errOut.String())
		}
		out.Reset()
		var v verdict
		if run(t.Context(), append(args, "--json"), strings.NewReader(tc.request), &out, &errOut); json.Unmarshal(out.Bytes(), &v) != nil || v.Accepted != (code == 0) {
			t.Errorf("%s: as JSON %s", tc.name, out.String())
		}
	}
}

// zipped returns a body packed by gzip.
func zipped(body []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(body)
	_ = w.Close()
	return out.Bytes()
}

// What strangers wrote, and what is quoted of it in an error, acts on no terminal.
func TestCourierTestIsSafeForTerminals(t *testing.T) {
	t.Parallel()
	settings := configFile(t, fmt.Sprintf("[couriers.parcels]\nscheme = \"bearer\"\nsecrets = [%q]\n", secretFile(t, "a-secret")))
	request := "POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a-secret\r\nContent-Type: application/json\r\n\r\n" +
		`{"eventId":"e\u202e1","eventType":"t\u202em","occurredAt":"2026-02-26T12:00:00Z","source":"s","idempotencyKey":"k1","payload":{"shipmentId":"s1","status":"\u2066x"}}`
	for _, args := range [][]string{{"-"}, {"-", "--json"}, {"\x1b[31m"}, {"-", "--at", "\u202e"}} {
		var out, errOut bytes.Buffer
		run(t.Context(), append([]string{"couriers", "test", "parcels", "--config", settings}, args...), strings.NewReader(request), &out, &errOut)
		printed := out.String() + errOut.String()
		if i := strings.IndexAny(printed, "\x1b\u202e\u2066"); i >= 0 || printed == "" {
			t.Errorf("%q prints a character that acts on terminals: %q", args, printed[max(i, 0):])
		}
	}
}
