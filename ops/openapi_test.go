package ops

import (
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/ingestion"
	"github.com/fincart/courier-gateway/ingest/event/loss"
	"github.com/fincart/courier-gateway/ingest/event/reprocess"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
)

// document is the embedded OpenAPI document, as far as the tests look at it.
type document struct {
	Components struct {
		Schemas   map[string]schema
		Responses map[string]any
	}
}

type schema struct {
	Properties map[string]any
	Required   []string
}

func readDocument(t *testing.T) (doc document) {
	t.Helper()
	if err := json.Unmarshal([]byte(OpenAPI), &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestOpenAPIReferencesResolve(t *testing.T) {
	t.Parallel()
	doc := readDocument(t)
	used := map[string]bool{}
	for _, match := range regexp.MustCompile(`"\$ref": "#/components/(schemas|responses)/(\w+)"`).FindAllStringSubmatch(OpenAPI, -1) {
		used[match[2]] = true
		_, isSchema := doc.Components.Schemas[match[2]]
		_, isResponse := doc.Components.Responses[match[2]]
		if isSchema != (match[1] == "schemas") || isResponse != (match[1] == "responses") {
			t.Errorf("%s leads nowhere", match[0])
		}
	}
	for _, name := range slices.Concat(slices.Collect(maps.Keys(doc.Components.Schemas)), slices.Collect(maps.Keys(doc.Components.Responses))) {
		if !used[name] {
			t.Errorf("%s is not used", name)
		}
	}
}

func TestOpenAPISchemasAreTheTypes(t *testing.T) {
	t.Parallel()
	doc := readDocument(t)
	for name, v := range map[string]any{
		"Problem": Problem{}, "Status": Status{}, "Attention": Attention{}, "Listener": Listener{}, "Health": Health{}, "QueueStatus": QueueStatus{}, "QueueServers": event.QueueServers{}, "QueueReplica": event.QueueReplica{}, "StoreCounts": event.StoreCounts{},
		"WorkerStatus": WorkerStatus{}, "ReconcilerStatus": ReconcilerStatus{}, "Record": event.Record{}, "Attempt": event.Attempt{},
		"Shipment": shipment.Shipment{}, "Checkpoint": shipment.Checkpoint{}, "DeadLetter": event.DeadLetter{}, "DeadLetterPage": DeadLetterPage{},
		"ReplayLink": event.ReplayLink{}, "Note": Note{}, "IngestionPage": IngestionPage{}, "IngestionRow": IngestionRow{}, "IngestionRecord": ingestion.Record{},
		"CapturedRequest": ingestion.Request{}, "CapturedHeader": ingestion.Header{}, "AcceptRequest": AcceptRequest{}, "Accepted": Accepted{},
		"CourierList": CourierList{}, "UnmappedList": UnmappedList{}, "ReprocessRequest": reprocess.Request{}, "ReprocessPage": reprocess.Page{}, "ShipmentChange": reprocess.Change{}, "ShipmentOutcome": reprocess.Outcome{}, "UnmappedStatus": UnmappedStatus{}, "CourierInfo": CourierInfo{}, "KeyInfo": KeyInfo{}, "KeySourceInfo": KeySourceInfo{}, "ReloadReport": ReloadReport{},
		"LossList": LossList{}, "Loss": loss.Loss{}, "SequenceRange": loss.Range{},
	} {
		all, required := members(reflect.TypeOf(v))
		s := doc.Components.Schemas[name]
		if got := slices.Sorted(maps.Keys(s.Properties)); !slices.Equal(got, all) {
			t.Errorf("%s has\n%v, the type\n%v", name, got, all)
		}
		slices.Sort(s.Required)
		if !slices.Equal(s.Required, required) {
			t.Errorf("%s requires\n%v, the type always has\n%v", name, s.Required, required)
		}
	}
	for name, typ := range map[string]reflect.Type{"DeadLetterRow": reflect.TypeFor[DeadLetterRow](), "RequestRow": reflect.TypeFor[RequestRow]()} {
		rows := slices.Sorted(maps.Keys(doc.Components.Schemas[name].Properties))
		want, _ := members(typ)
		want = slices.DeleteFunc(want, func(name string) bool { return name == "body" || name == "headers" })
		if !slices.Equal(rows, want) {
			t.Errorf("%s has\n%v, want\n%v", name, rows, want)
		}
	}
}

// members returns the JSON names of a struct's fields, and of those the ones
// that are never left out.
func members(typ reflect.Type) (all, required []string) {
	for _, field := range reflect.VisibleFields(typ) {
		name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous || name == "-" || name == "" {
			continue
		}
		all = append(all, name)
		if !strings.Contains(options, "omit") {
			required = append(required, name)
		}
	}
	slices.Sort(all)
	slices.Sort(required)
	return all, required
}
