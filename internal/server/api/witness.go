package api

import "github.com/chartkeep/chartkeep/internal/release"

type witnessingAnswer struct {
	Schema string `json:"schema"`
	release.Witnessing
}

func (d *Door) listWitnesses(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	w, err := d.svc.Witnesses(c.ctx, c.caller)
	if err != nil {
		return reply{}, err
	}
	return reply{body: witnessingAnswer{"log-witnesses/v1", w}}, nil
}
