package payload

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

func TestNewDecoderReportsEveryFault(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("a.", maxNodes) + "a"
	for _, tc := range []struct {
		name    string
		mapping Mapping
		want    []string
	}{
		{"next to nothing", Mapping{OrderID: []string{"{o}"}}, []string{
			"event_id: is needed, or else idempotency_key", "shipment_id: is needed",
			"time.from: is needed, unless checkpoints have the time or time.received allows the time of receipt in its place"}},
		{"everything at once", Mapping{
			Key: []string{"id", "{a..b}"}, ShipmentID: []string{"{header:x}"}, Type: []string{""}, Source: []string{"a\nb"}, OrderID: []string{"{sha256:body}"},
			Time:   TimeMapping{From: []string{"{t"}, Formats: []string{"unix", "hh:mm"}, Zone: "Mars/Olympus"},
			Status: []string{"x}y"}, States: map[shipment.State][]string{"lost": {"l"}, shipment.InTransit: {"T", ""}, shipment.Delivered: {"t"}},
			Checkpoints: CheckpointMapping{Path: "{log}"},
		}, []string{
			`idempotency_key[0]: "id" is the same for every event; a member is named as in {id}`,
			`idempotency_key[1]: "a..b" can't be read as a path from "..b" on`,
			`event_type: must not be empty`,
			`source: "a\nb" must not hold control characters`,
			`shipment_id: {header:x} can be used for event_id and idempotency_key only`,
			`order_id: {sha256:body} can be used for event_id and idempotency_key only`,
			`status: "x}y" has a } without a {`,
			`states.in_transit: an empty status can't be listed`,
			`states.delivered: "t" is listed as in_transit too`,
			`states.lost: "lost" is none of [unknown pending info_received in_transit out_for_delivery attempt_failed available_for_pickup exception expired cancelled returned delivered none]`,
			`time.from: "{t" has a { without a }`,
			`time.zone: "Mars/Olympus" is neither a time zone that is known here nor an offset such as +05:30`,
			`time.formats[1]: "hh:mm" is none of rfc3339, iso8601, unix, unix_ms, and no layout that holds a date (and no abbreviated zone, which says no offset)`,
			`checkpoints.path: must be the path of an array, without braces, as in msg.checkpoints`,
		}},
		{"checkpoints", small(func(m *Mapping) {
			m.Status = nil
			m.Checkpoints = CheckpointMapping{Path: "log", Time: TimeMapping{Received: true, Zone: "Local"}, Substatus: []string{"{header:x}"}}
		}), []string{
			"checkpoints.time.zone: \"Local\" is neither a time zone that is known here nor an offset such as +05:30",
			"checkpoints.time.from: is needed", "checkpoints.time.received: a checkpoint's time must be in the body",
			"checkpoints.substatus: {header:x} can be used for event_id and idempotency_key only",
			"checkpoints.status: is needed for substatus and states"}},
		{"substatus alone", small(func(m *Mapping) { m.Status, m.Substatus = nil, []string{"{s}"} }), []string{"status: is needed for substatus and states"}},
		{"placeholders", small(func(m *Mapping) {
			m.EventID = []string{"{}", "{$}", "{sha1:body}", "{sha256:header}", "{header:}", "{header:a b}", "{a[01]}", "{a[-2]}", "{a[x]}", "{a]}", `{["a}`, `{a[""]}`}
		}), []string{
			`event_id[0]: "" names no member`, `event_id[1]: "$" names no member`,
			`event_id[2]: {sha1:body} is neither {header:name} nor {sha256:body}; a member's name with a colon goes in brackets and quotes, as in {["a:b"]}`,
			`event_id[3]: {sha256:header} is neither {header:name} nor {sha256:body}; a member's name with a colon goes in brackets and quotes, as in {["a:b"]}`,
			`event_id[4]: "" can't be the name of a header`, `event_id[5]: "a b" can't be the name of a header`,
			`event_id[6]: "a[01]" can't be read as a path from "[01]" on`, `event_id[7]: "a[-2]" can't be read as a path from "[-2]" on`,
			`event_id[8]: "a[x]" can't be read as a path from "[x]" on`, `event_id[9]: "a]" can't be read as a path from "]" on`,
			`event_id[10]: "{[\"a}" has a { without a }`, `event_id[11]: "a[\"\"]" can't be read as a path from "[\"\"]" on`}},
		{"too many members", small(func(m *Mapping) { m.OrderID = []string{"{" + deep + "}"} }), []string{
			"$: the paths go through 72 members and elements, no more than 64 are possible"}},
		{"layouts", small(func(m *Mapping) {
			m.Time.Formats = []string{"02.01.06 15:04", "2006-002 15:04:05", "Mon Jan 2 15:04:05 MST 2006", "01-02 15:04", "January 2006"}
		}), []string{
			`time.formats[2]: "Mon Jan 2 15:04:05 MST 2006" is none of rfc3339, iso8601, unix, unix_ms, and no layout that holds a date (and no abbreviated zone, which says no offset)`,
			`time.formats[3]: "01-02 15:04" is none of rfc3339, iso8601, unix, unix_ms, and no layout that holds a date (and no abbreviated zone, which says no offset)`,
			`time.formats[4]: "January 2006" is none of rfc3339, iso8601, unix, unix_ms, and no layout that holds a date (and no abbreviated zone, which says no offset)`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d, err := NewDecoder(tc.mapping)
			invalid, ok := errors.AsType[event.Faults](err)
			if d != nil || !ok || !slices.Equal(texts(invalid), tc.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(texts(invalid), "\n  "), strings.Join(tc.want, "\n  "))
			}
		})
	}
}

func TestCompileErrorNamesEachKey(t *testing.T) {
	t.Parallel()
	_, err := NewDecoder(Mapping{EventID: []string{"{id}"}, ShipmentID: []string{"{n}"}, Time: TimeMapping{From: []string{"{t}"}, Zone: "x", Formats: []string{"y"}}})
	if err == nil || !strings.HasPrefix(err.Error(), "time.zone: ") || !strings.Contains(err.Error(), "; time.formats[0]: ") {
		t.Errorf("got %v", err)
	}
}
