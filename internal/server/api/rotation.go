package api

import "time"

// rotationAnswer is how the log went from one key to another.
type rotationAnswer struct {
	LogIndex int64     `json:"log_index"`
	Old      string    `json:"old"`
	New      string    `json:"new"`
	Until    time.Time `json:"until"`
	Proof    string    `json:"proof,omitempty"`
}

func (d *Door) listRotations(c *call) (reply, error) {
	if err := c.noQuery(); err != nil {
		return reply{}, err
	}
	all, err := d.svc.Rotations(c.ctx)
	if err != nil {
		return reply{}, err
	}
	items := make([]rotationAnswer, 0, len(all))
	for _, r := range all {
		items = append(items, rotationAnswer{r.LogIndex, r.Old, r.New, r.Until, string(r.Proof)})
	}
	return reply{body: list[rotationAnswer]{Schema: "log-rotation-list/v1", Items: items}}, nil
}
