package sdkplugin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/bailiwick-dev/bailiwick/attest"
)

// Exchange is for a Temporal that no gate stands in front of. Before each start, signal, update, query, schedule and standalone activity the
// client describes it to Bailiwick's token endpoint, which decides and records as a gate does, and puts the attestation that it gets
// (RFC 8693) into the request's header. The bearer token goes to that endpoint and nowhere else: how the client authenticates to Temporal
// is client.Options' own affair.
//
// It is honest clients' part: nothing stops a program that has access to Temporal from calling it without. What does stop is the
// worker, which refuses tasks without an attestation.
type Exchange struct {
	URL        string       // the token endpoint: the control plane's address and /v1/token; https, or http on loopback
	HTTPClient *http.Client // default: a client with a timeout of 10 s; redirects are refused
}

const (
	exchangeMaxAnswer = 64 << 10
	exchangeTimeout   = 10 * time.Second
	attestationType   = "urn:bailiwick:params:oauth:token-type:attestation"
)

// exchanger asks the token endpoint.
type exchanger struct {
	url    string
	client *http.Client
	creds  Credentials
}

func newExchanger(o Options) (*exchanger, error) {
	if o.Credentials == nil {
		return nil, errors.New("Exchange needs Credentials, whose tokens it trades")
	}
	if err := checkURL(o.Exchange.URL); err != nil {
		return nil, fmt.Errorf("Exchange.URL: %w", err)
	}
	x := &exchanger{url: o.Exchange.URL, client: o.Exchange.HTTPClient, creds: o.Credentials}
	if x.client == nil {
		x.client = &http.Client{Timeout: exchangeTimeout}
	}
	x.client = withoutRedirects(x.client)
	return x, nil
}

// intercept stands around each gRPC call, closest to the wire, so that it sees the requests as Temporal will.
func (x *exchanger) intercept(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	places := placesIn(req)
	if len(places) == 0 {
		return invoke(ctx, method, req, reply, cc, opts...)
	}
	for _, p := range places {
		// A header of its own for each act: the SDK gives both operations of an update-with-start the same one.
		h := &commonpb.Header{Fields: maps.Clone((*p.header).GetFields())}
		attest.Strip(h) // also what an earlier attempt put there
		*p.header = h
	}
	digest, err := requestDigest(req)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	for _, p := range places {
		p.act.Type, p.act.RequestDigest = "temporal_act", digest
		p.act.Reason, _ = ctx.Value(reasonKey).(string)
		p.act.Grant, _ = ctx.Value(grantKey).(string)
		raw, err := x.trade(ctx, p.act)
		if err != nil {
			return err
		}
		if (*p.header).Fields == nil {
			(*p.header).Fields = map[string]*commonpb.Payload{}
		}
		(*p.header).Fields[attest.HeaderKey] = attest.ToPayload(raw)
	}
	return invoke(ctx, method, req, reply, cc, opts...)
}

// requestDigest is the SHA-256 (hex) of the request before it is stamped, in deterministic protobuf encoding.
func requestDigest(req any) (string, error) {
	m, ok := req.(proto.Message)
	if !ok {
		return "", errors.New("the request is not a protobuf message")
	}
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("encoding the request: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// trade gets the attestation of one act. Errors are gRPC statuses: the SDK retries what may pass.
func (x *exchanger) trade(ctx context.Context, a exchangeAct) (string, error) {
	token, err := x.creds.Token(ctx)
	if err != nil {
		return "", asStatus(err)
	}
	details, err := json.Marshal([]exchangeAct{a})
	if err != nil {
		return "", status.Error(codes.InvalidArgument, "describing the call: "+err.Error())
	}
	form := url.Values{
		"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":        {token},
		"subject_token_type":   {"urn:ietf:params:oauth:token-type:access_token"},
		"requested_token_type": {attestationType}, "authorization_details": {string(details)},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.url, strings.NewReader(form.Encode()))
	if err != nil {
		return "", status.Error(codes.Internal, "asking for an attestation: "+err.Error())
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", userAgentValue)
	resp, err := x.client.Do(req)
	if err != nil {
		return "", asStatus(fmt.Errorf("asking for an attestation: %w", err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, exchangeMaxAnswer))
	if err != nil {
		return "", status.Error(codes.Unavailable, "reading the attestation: "+err.Error())
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		IssuedType  string `json:"issued_token_type"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Code        string `json:"code"`
		Decision    string `json:"decision"`
	}
	if err := json.Unmarshal(body, &answer); err != nil && resp.StatusCode < 500 {
		return "", status.Errorf(codes.FailedPrecondition, "the address %s answers with status %d and is no token endpoint; check Exchange.URL", req.URL.Host, resp.StatusCode)
	}
	if resp.StatusCode == http.StatusOK && answer.IssuedType == attestationType && answer.AccessToken != "" {
		return answer.AccessToken, nil
	}
	text := fmt.Sprintf("no attestation for this call: %s: %s (decision %s)", cut(answer.Code, 100), cut(answer.Description, 1000), cut(answer.Decision, 100))
	switch {
	case resp.StatusCode == http.StatusForbidden:
		return "", status.Error(codes.PermissionDenied, text)
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return "", status.Error(codes.Unavailable, fmt.Sprintf("no attestation for this call: status %d %s %s", resp.StatusCode, cut(answer.Code, 100), cut(answer.Description, 1000)))
	case strings.HasPrefix(answer.Code, "token_"):
		return "", status.Error(codes.Unauthenticated, text)
	}
	return "", status.Error(codes.InvalidArgument, text)
}
