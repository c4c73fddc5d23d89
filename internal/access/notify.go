package access

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Notices delivers notices to the channels of access.yaml.
type Notices struct {
	channels []Channel
	link     string
	log      *slog.Logger
	clock    func() time.Time
}

// NewNotifier makes one for the channels; nil without any.
func NewNotifier(channels []Channel, link string, logger *slog.Logger) (*Notices, error) {
	if len(channels) == 0 {
		return nil, nil
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Notices{channels: channels, link: link, log: logger, clock: time.Now}, nil
}

// Channels are the names.
func (n *Notices) Channels() (names []string) {
	for _, c := range n.channels {
		names = append(names, c.Name)
	}
	return names
}

// Notify delivers one notice to one channel, once. An error means that it may not have arrived: it is tried again with the same id.
func (n *Notices) Notify(ctx context.Context, channel string, notice Notice) error {
	for i := range n.channels {
		c := &n.channels[i]
		if c.Name != channel {
			continue
		}
		if !c.wants(&notice) {
			return nil
		}
		if err := n.deliver(ctx, c, &notice); err != nil {
			n.log.WarnContext(ctx, "a notice was not delivered", "channel", channel, "notice", notice.ID, "error", err)
			return fmt.Errorf("notifying %s: %w", channel, err)
		}
		return nil
	}
	return fmt.Errorf("notifying %s: %w", channel, ErrUnknownChannel)
}

func (n *Notices) deliver(ctx context.Context, c *Channel, notice *Notice) error {
	switch {
	case c.Webhook != nil:
		return c.Webhook.post(ctx, notice, n.clock())
	case c.Slack != nil:
		return c.Slack.post(ctx, notice, n.linkTo(notice))
	case c.Email != nil:
		return c.Email.send(ctx, notice, n.linkTo(notice))
	}
	return errors.New("the channel has no kind")
}

// linkTo is the request's page, or "".
func (n *Notices) linkTo(notice *Notice) string {
	if n.link == "" {
		return ""
	}
	return strings.ReplaceAll(n.link, "{id}", notice.Request.Asked.ID)
}
