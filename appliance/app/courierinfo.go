package app

import (
	"time"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/ingest/signature"
	"github.com/fincart/courier-gateway/ops"
)

// inForce is the configuration as it is in force: that of the start, with the
// couriers of the last reload.
type inForce struct {
	config.Config
	schemes map[string]*signature.Scheme // by courier; none in the role process
}

// courierInfos tells operators of the couriers in force.
func (a *App) courierInfos() []ops.CourierInfo {
	now := a.current.Load()
	known, _ := config.Presets() // they were read when the configuration was
	infos := []ops.CourierInfo{}
	for _, name := range now.CourierNames() {
		c, scheme := now.Couriers[name], now.schemes[name]
		binding := scheme.Binding()
		info := ops.CourierInfo{
			Name: name, Preset: c.Preset, Scheme: c.Scheme, Mode: c.Mode, Path: "/v1/events/courier/" + name,
			Default: name == now.DefaultCourier(), Unverified: known[c.Preset].Unverified, Mapped: !c.Canonical(),
			Binding: binding.String(), BindsBody: binding.Body, Fresh: binding.Fresh, UnsignedID: c.UnsignedID(scheme),
			Networks: c.Networks, RatePerSecond: c.RatePerSecond, MaxConcurrent: c.MaxConcurrent,
			MaxBodyBytes: c.MaxBodyBytes, SuccessStatus: c.SuccessStatus,
		}
		if info.MaxBodyBytes == 0 {
			info.MaxBodyBytes = now.Ingest.MaxBodyBytes
		}
		for _, k := range scheme.KeyInfos() {
			info.Keys = append(info.Keys, keyInfo(k, time.Now()))
		}
		if c.JWKS != "" {
			count, loaded, problem := a.keys.state(c.JWKS)
			info.PublicKeys = &ops.KeySourceInfo{Address: c.JWKS, Count: count, LoadedAt: loaded, Problem: problem}
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
