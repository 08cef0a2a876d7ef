package stripeevent

import "example.com/verification-status/server/internal/verification"

// words are texts that nearly every event holds. They are decoded without an allocation, and all records in a cache share them.
var words = func() map[string]string {
	known := []string{
		"event", "document", "id_number", verification.StatusRequiresInput, verification.StatusProcessing, verification.StatusVerified,
		verification.StatusCanceled,
	}
	words := make(map[string]string)
	for _, word := range append(known, verification.EventTypes...) {
		words[word] = word
	}
	return words
}()
