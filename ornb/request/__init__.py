"""What a chat request may hold, checked before it is sent: parameters, files, tools, schemas."""
