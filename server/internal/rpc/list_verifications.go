package rpc

import (
	"context"
	"errors"
	"fmt"

	verificationv1 "example.com/verification-status/gen/verification/v1"
	"example.com/verification-status/server/internal/resumetoken"
	"example.com/verification-status/server/internal/store"
	"example.com/verification-status/server/internal/verification"
)

// Sizes of a page.
const (
	defaultPageSize = 50
	maxPageSize     = 200
)

// ListVerifications implements the RPC.
func (s *Service) ListVerifications(ctx context.Context, request *verificationv1.ListVerificationsRequest) (*verificationv1.ListVerificationsResponse, error) {
	response, err := s.listVerifications(ctx, request)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	return response, nil
}

func (s *Service) listVerifications(ctx context.Context, request *verificationv1.ListVerificationsRequest) (*verificationv1.ListVerificationsResponse, error) {
	query, filter, err := s.listQuery(request)
	if err != nil {
		return nil, err
	}
	ctx, cancel := withMargin(ctx)
	defer cancel()
	slot, err := s.takeListSlot(ctx)
	if err != nil {
		return nil, err
	}
	defer slot.Release()
	page, err := s.config.Live.List(ctx, query)
	if err != nil {
		return nil, err
	}
	response := &verificationv1.ListVerificationsResponse{}
	for _, session := range page.Sessions {
		response.Verifications = append(response.Verifications, s.config.current(ctx, &session))
	}
	if page.Next != (store.ListCursor{}) {
		response.NextPageToken = resumetoken.EncodeList(filter, resumetoken.Cursor(page.Next))
	}
	return response, nil
}

// listQuery returns the query for the store. filter stands for the request's filter in tokens.
func (s *Service) listQuery(request *verificationv1.ListVerificationsRequest) (query store.ListQuery, filter string, err error) {
	query, filter, err = s.listFilter(request)
	if err != nil {
		return query, filter, err
	}
	switch size := request.GetPageSize(); {
	case size < 0:
		return query, filter, invalid("page_size", "is negative; give 1 to %d, or 0 for %d", maxPageSize, defaultPageSize)
	case size == 0:
		query.Limit = defaultPageSize
	default:
		query.Limit = min(int(size), maxPageSize)
	}
	token := request.GetPageToken()
	if token == "" {
		return query, filter, nil
	}
	if err := checkToken("page_token", token); err != nil {
		return query, filter, err
	}
	cursor, err := resumetoken.DecodeList(token, filter)
	if errors.Is(err, resumetoken.ErrInvalid) {
		err = invalid("page_token", "is not a token of this list; send the next_page_token of the same list, or none")
	}
	query.After = store.ListCursor(cursor)
	return query, filter, err
}

// statusLists maps statuses to lists.
var statusLists = map[verificationv1.Status]verification.List{
	verificationv1.Status_STATUS_REQUIRES_INPUT: verification.ListRequiresInput,
	verificationv1.Status_STATUS_PROCESSING:     verification.ListProcessing,
	verificationv1.Status_STATUS_VERIFIED:       verification.ListVerified,
	verificationv1.Status_STATUS_CANCELED:       verification.ListCanceled,
}

func (s *Service) listFilter(request *verificationv1.ListVerificationsRequest) (query store.ListQuery, filter string, err error) {
	switch by := request.GetFilter().(type) {
	case *verificationv1.ListVerificationsRequest_ClientReferenceId:
		query.Reference = by.ClientReferenceId
		return query, "reference " + by.ClientReferenceId, checkReference(by.ClientReferenceId)
	case *verificationv1.ListVerificationsRequest_Status:
		list, known := statusLists[by.Status]
		if !known {
			return query, "", invalid("status", "%s cannot be listed; give one of the contract's other statuses", by.Status)
		}
		query.List = list
		return query, fmt.Sprintf("status %d", by.Status), nil
	case *verificationv1.ListVerificationsRequest_Denial:
		query.List, err = denialList(by.Denial)
		return query, fmt.Sprintf("denial %d", by.Denial), err
	case *verificationv1.ListVerificationsRequest_InDoubt:
		query.List = verification.ListInDoubt
		return query, "in doubt", nil
	case *verificationv1.ListVerificationsRequest_ProcessingLongerThan:
		asked := by.ProcessingLongerThan
		if asked.CheckValid() != nil || asked.AsDuration() < 0 {
			return query, "", invalid("processing_longer_than", "is no duration of 0 or more")
		}
		query.List = verification.ListProcessing
		notAfter := s.config.Clock().Add(-asked.AsDuration()).Unix()
		query.NotAfter = &notAfter
		return query, fmt.Sprintf("processing %d", asked.AsDuration()), nil
	default:
		return query, "", invalid("filter", "is missing: set client_reference_id, status, denial, in_doubt or processing_longer_than")
	}
}

// denialList returns the list of a denial. The error for a denial without a list says what to ask for instead.
func denialList(denial verificationv1.RetryDenial) (list verification.List, err error) {
	var instead string
	switch denial {
	case verificationv1.RetryDenial_RETRY_DENIAL_LIMIT_REACHED:
		return verification.ListLimitReached, nil
	case verificationv1.RetryDenial_RETRY_DENIAL_NOT_RETRYABLE:
		return verification.ListNotRetryable, nil
	case verificationv1.RetryDenial_RETRY_DENIAL_PROCESSING:
		instead = "ask for the status STATUS_PROCESSING or processing_longer_than"
	case verificationv1.RetryDenial_RETRY_DENIAL_ALREADY_VERIFIED:
		instead = "ask for the status STATUS_VERIFIED"
	case verificationv1.RetryDenial_RETRY_DENIAL_CANCELED, verificationv1.RetryDenial_RETRY_DENIAL_SUPERSEDED:
		instead = "ask for the status STATUS_CANCELED; superseded_by names the replacement"
	case verificationv1.RetryDenial_RETRY_DENIAL_COOLDOWN:
		instead = "it passes by itself; ask for the status STATUS_REQUIRES_INPUT, and see retry.next_retry_time"
	case verificationv1.RetryDenial_RETRY_DENIAL_REDACTED:
		instead = "redacted sessions are in no list"
	case verificationv1.RetryDenial_RETRY_DENIAL_RESOLVED:
		instead = "ask for the status; resolution says how an operator dealt with the person"
	default:
		instead = "give RETRY_DENIAL_LIMIT_REACHED or RETRY_DENIAL_NOT_RETRYABLE"
	}
	return 0, invalid("denial", "%s has no list: %s", denial, instead)
}
