package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fincart/courier-gateway/appliance/config/sendertest"
	"github.com/fincart/courier-gateway/ingest/event"
	"github.com/fincart/courier-gateway/ingest/event/shipment"
	"github.com/fincart/courier-gateway/ingest/payload"
	"github.com/fincart/courier-gateway/process/journey"
)

// scans writes "DL @-2h" as an object of the layout, for each of several.
func scans(all, layout, timeLayout string, base time.Time) string {
	var objects []string
	for one := range strings.SplitSeq(all, ", ") {
		status, after, _ := strings.Cut(one, " @")
		d, err := time.ParseDuration(after)
		if err != nil {
			panic(err)
		}
		objects = append(objects, fmt.Sprintf(layout, status, base.Add(d).Format(timeLayout)))
	}
	return "[" + strings.Join(objects, ",") + "]"
}

// pushOf writes a push of a sender that has a history: "STATUS @-1h | SCAN @-2h, …", with times
// after start. A push time is left blank by "-", and scans may be absent.
func pushOf(preset, text string, start time.Time) string {
	own, history, _ := strings.Cut(text, " | ")
	status, after, _ := strings.Cut(strings.TrimSpace(own), " @")
	when := time.Time{}
	if d, err := time.ParseDuration(after); err == nil {
		when = start.Add(d)
	}
	as := func(layout string) string {
		if when.IsZero() {
			return ""
		}
		return when.Format(layout)
	}
	zone := func(name string) *time.Location {
		l, err := time.LoadLocation(name)
		if err != nil {
			panic(err)
		}
		return l
	}
	list := func(layout, timeLayout string, in *time.Location) string {
		if history == "" {
			return "[]"
		}
		return scans(history, layout, timeLayout, start.In(in))
	}
	switch preset {
	case "fedex":
		return fmt.Sprintf(`{"output":{"completeTrackResults":[{"trackingNumber":"n","trackResults":[{"latestStatusDetail":{"code":%q,"derivedCode":%[1]q},"scanEvents":%s}]}]}}`,
			status, list(`{"derivedStatusCode":%q,"date":%q}`, time.RFC3339, time.UTC))
	case "shipengine":
		return fmt.Sprintf(`{"resource_type":"API_TRACK","data":{"tracking_number":"n","status_code":%q,"events":%s}}`, status,
			list(`{"status_code":%q,"occurred_at":%q}`, time.RFC3339, time.UTC))
	case "easyship":
		return fmt.Sprintf(`{"event_type":"shipment.tracking.x","data":{"easyship_shipment_id":"n","status":%q,"checkpoints":%s}}`, status,
			list(`{"primary_status":%q,"checkpoint_time":%q}`, time.RFC3339, time.UTC))
	case "shippo":
		return fmt.Sprintf(`{"event":"track_updated","data":{"tracking_number":"n","tracking_status":{"status":%q,"status_date":%q},"tracking_history":%s}}`, status, as(time.RFC3339),
			list(`{"status":%q,"status_date":%q}`, time.RFC3339, time.UTC))
	case "easypost":
		return fmt.Sprintf(`{"id":%q,"description":"tracker.updated","result":{"tracking_code":"n","status":%q,"updated_at":%q,"tracking_details":%s}}`, text, status, as(time.RFC3339),
			list(`{"status":%q,"datetime":%q}`, time.RFC3339, time.UTC))
	case "aftership":
		ts := "null"
		if !when.IsZero() {
			ts = fmt.Sprint(when.Unix())
		}
		return fmt.Sprintf(`{"event_id":%q,"event":"tracking_update","ts":%s,"msg":{"tracking_number":"n","tag":%q,"checkpoints":%s}}`, text, ts, status,
			list(`{"tag":%q,"checkpoint_time":%q}`, time.RFC3339, time.UTC))
	case "shiprocket":
		when = when.In(zone("Asia/Kolkata"))
		return fmt.Sprintf(`{"awb":"n","current_status":%q,"current_timestamp":%q,"scans":%s}`, status, as("02 01 2006 15:04:05"),
			list(`{"sr-status-label":%q,"date":%q}`, time.DateTime, zone("Asia/Kolkata")))
	case "dhl-ecommerce":
		return fmt.Sprintf(`{"packages":[{"package":{"dhlPackageId":"n"},"events":%s}]}`,
			list(`{"primaryEventDescription":%q,"date":%q,"time":null}`, time.DateTime, zone("America/New_York")))
	}
	panic("no payload of " + preset)
}

// TestPushesLeadToTheStateOfTheirSender reads pushes with a history as their senders write
// them, some minutes apart, and applies them in both orders.
func TestPushesLeadToTheStateOfTheirSender(t *testing.T) {
	presets := sendertest.Presets(t)
	for _, tt := range []struct {
		name, preset, pushes string
		want                 shipment.State
	}{
		{"a scan in the instant of the status", "fedex", "OD | DL @-1h", shipment.OutForDelivery},
		{"a scan in the instant of the status, ahead", "fedex", "RS | DL @6h", shipment.Returned},
		{"a scan in the instant of the status", "fedex", "IT | SE @-1h", shipment.InTransit},
		{"a scan in the instant of the status", "shipengine", "IT | DE @-1h", shipment.InTransit},
		{"a scan in the instant of the status", "easyship", "Out for Delivery | Exception @-1h", shipment.OutForDelivery},
		{"a scan in the instant of the status", "shippo", "RETURNED @-1h | DELIVERED @-1h", shipment.Returned},
		{"a scan in the instant of the status", "shiprocket", "RTO DELIVERED @-1h | DELIVERED @-1h", shipment.Returned},
		{"a scan in the instant of the status", "easypost", "out_for_delivery @-1h | delivered @-1h", shipment.OutForDelivery},
		{"a scan in the instant of the status", "aftership", "InTransit @-1h | AttemptFail @-1h", shipment.InTransit},

		{"a scan ahead holds no state", "fedex", "SE | SE @10h; IT | SE @10h, IT @4m", shipment.InTransit},
		{"a scan ahead holds no state", "shipengine", "EX | EX @10h; IT | EX @10h, IT @4m", shipment.InTransit},
		{"a scan ahead holds no state", "aftership", "Exception @- | Exception @10h; InTransit @- | Exception @10h, InTransit @4m", shipment.InTransit},
		{"a scan ahead, and one from before it came", "fedex", "SE | SE @10h, IT @-5h; IT | IT @-6m, IT @-5h", shipment.InTransit},
		{"a scan ahead, and one from before it came", "shipengine", "EX | EX @10h; IT | IT @-1s", shipment.InTransit},
		{"a scan of a minute ago beside one ahead", "fedex", "SE | SE @-1m; OD | SE @-1m, IT @10h", shipment.OutForDelivery},
		{"a status that has no scan yet", "fedex", "SE | SE @-2h; OD | SE @-2h", shipment.OutForDelivery},
		{"the oldest first", "shipengine", "IT | IT @-3h; EX | IT @-3h, EX @-2h; IT | IT @-3h, EX @-2h, IT @-1h", shipment.InTransit},
		{"scans lag behind a push without a time", "shiprocket", "OUT FOR DELIVERY @-1h | SHIPPED @-3h; UNDELIVERED @- | SHIPPED @-3h, OUT FOR DELIVERY @-2h", shipment.AttemptFailed},

		{"a history with a scan decades ahead", "dhl-ecommerce", "| DELIVERED @-10h, PROCESSED @315360h", shipment.Delivered},
		{"a history with a scan ahead", "dhl-ecommerce", "| OUT FOR DELIVERY @10h; | OUT FOR DELIVERY @10h, DELIVERED @-6h", shipment.Delivered},
		{"a clock that is a little ahead", "dhl-ecommerce", "| PROCESSED @-6h, OUT FOR DELIVERY @1m", shipment.OutForDelivery},
		{"a late scan after the delivery", "dhl-ecommerce", "| ARRIVED USPS SORT FACILITY @-60m, DELIVERED @-80m, OUT FOR DELIVERY @-3h", shipment.Delivered},
		{"a late scan after the delivery", "fedex", "| DL @-2h, IT @-95m", shipment.Delivered},
		{"a late scan after the delivery", "easyship", "| Delivered @-2h, In Transit to Customer @-110m", shipment.Delivered},
		{"a late scan after the delivery, a scan ahead", "easyship", "| Delivered @-2h, In Transit to Customer @-110m, In Transit to Customer @9h", shipment.Delivered},
		{"a late scan after the delivery, not mapped", "easypost", "weird @- | delivered @-2h, in_transit @-100m", shipment.Delivered},
		{"a late scan after the delivery, not mapped", "fedex", "weird | DL @-2h, IT @-95m", shipment.Delivered},
		{"a late scan after the return", "fedex", "| DL @-3h, RS @-2h, IT @-95m", shipment.Returned},
		{"a late scan, then pushes of both", "fedex", "| DL @-2h; | DL @-2h, IT @-95m", shipment.Delivered},
		{"a scan days after the delivery", "easyship", "| Delivered @-49h, In Transit to Customer @-30m", shipment.InTransit},
		{"a scan days after the delivery, not mapped", "easypost", "weird @-1m | delivered @-49h, in_transit @-30m", shipment.InTransit},
		{"a new label after the delivery", "easypost", "weird @-1m | delivered @-3h, pre_transit @-2h, in_transit @-1h", shipment.InTransit},
		{"a delivery in the local time of another zone", "dhl-ecommerce", "| OUT FOR DELIVERY @-1h, DELIVERED @3h", shipment.Delivered},
	} {
		t.Run(tt.preset+"/"+tt.name, func(t *testing.T) {
			p := presets[tt.preset]
			_, decoder := sendertest.Compile(t, &p.Courier, 0)
			var reports []journey.Report
			for i, text := range strings.Split(tt.pushes, "; ") {
				now := sendertest.SignedAt.Add(time.Duration(i)*5*time.Minute + 300*time.Millisecond)
				var e event.Event
				body := pushOf(tt.preset, " "+text, sendertest.SignedAt)
				if faults := decoder.Decode(payload.Input{Body: []byte(body), Received: now}, &e, nil); len(faults) > 0 {
					t.Fatalf("%s: %v", body, faults)
				}
				reports = append(reports, journey.Report{Event: e.Clone(), ReceivedAt: now, MaxAhead: 24 * time.Hour})
			}
			for _, order := range []string{"in order", "the last one first"} {
				var s shipment.Shipment
				for i := range reports {
					r := reports[i]
					if order != "in order" {
						r = reports[len(reports)-1-i]
					}
					journey.Apply(&s, r, r.ReceivedAt)
				}
				if s.State != tt.want || s.Leg != 1 {
					t.Errorf("%s: %s, leg %d; want %s", order, s.State, s.Leg, tt.want)
				}
			}
		})
	}
}
