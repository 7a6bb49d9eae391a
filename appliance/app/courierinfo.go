package app

import (
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ops"
)

// infos describes the active couriers to operators.
func (c *couriers) infos() []ops.CourierInfo {
	now := c.active.Load()
	known, _ := config.Presets() // they were read when the configuration was
	infos := []ops.CourierInfo{}
	for _, name := range now.CourierNames() {
		settings, scheme := now.Couriers[name], now.schemes[name]
		binding := scheme.Binding()
		info := ops.CourierInfo{
			Name: name, Preset: settings.Preset, Scheme: settings.Scheme, Mode: settings.Mode, Path: "/v1/events/courier/" + name,
			Default: name == now.DefaultCourier(), Unverified: known[settings.Preset].Unverified, Mapped: !settings.Canonical(),
			Binding: binding.String(), BindsBody: binding.Body, Fresh: binding.Fresh, UnsignedID: settings.UnsignedID(scheme),
			Networks: settings.Networks, RatePerSecond: settings.RatePerSecond, MaxConcurrent: settings.MaxConcurrent,
			MaxBodyBytes: settings.MaxBodyBytes, SuccessStatus: settings.SuccessStatus,
		}
		if info.MaxBodyBytes == 0 {
			info.MaxBodyBytes = now.Ingest.MaxBodyBytes
		}
		for _, k := range scheme.KeyInfos() {
			info.Keys = append(info.Keys, keyInfo(k, time.Now()))
		}
		if settings.JWKS != "" {
			count, loaded, problem := c.keys.state(settings.JWKS)
			info.PublicKeys = &ops.KeySourceInfo{Address: settings.JWKS, Count: count, LoadedAt: loaded, Problem: problem}
		}
		infos = append(infos, info)
	}
	return infos
}

func keyInfo(k signature.KeyInfo, now time.Time) ops.KeyInfo {
	info := ops.KeyInfo{ID: k.ID, NotBefore: k.NotBefore, NotAfter: k.NotAfter, State: ops.KeyValid}
	switch {
	case now.Before(k.NotBefore):
		info.State = ops.KeyNotYet
	case !k.NotAfter.IsZero() && now.After(k.NotAfter):
		info.State = ops.KeyExpired
	}
	return info
}
