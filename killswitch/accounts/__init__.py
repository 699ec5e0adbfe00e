"""Users, their roles and permissions, sign-in and second factors."""
