#!/bin/sh
# Runs a command of manage.py as a task of its own, and ends with its exit status:
#   ./manage.sh migrate --noinput                before the service is updated
#   ./manage.sh migrate --contract --noinput     later; 75 means: try again
# CLUSTER, SUBNETS and SECURITY_GROUPS (comma-separated) come from the environment.
set -eu

quoted='"python","manage.py"'
for word in "$@"; do quoted="$quoted,\"$word\""; done

task=$(aws ecs run-task --cluster "$CLUSTER" --task-definition shop-migrate --launch-type FARGATE \
    --network-configuration "awsvpcConfiguration={subnets=[$SUBNETS],securityGroups=[$SECURITY_GROUPS]}" \
    --overrides "{\"containerOverrides\":[{\"name\":\"manage\",\"command\":[$quoted]}]}" \
    --query 'tasks[0].taskArn' --output text)

# `aws ecs wait tasks-stopped` gives up after ten minutes, and an index may take hours.
while [ "$(aws ecs describe-tasks --cluster "$CLUSTER" --tasks "$task" --query 'tasks[0].lastStatus' \
    --output text)" != STOPPED ]; do
    sleep "${POLL:-5}"
done

status=$(aws ecs describe-tasks --cluster "$CLUSTER" --tasks "$task" \
    --query 'tasks[0].containers[0].exitCode' --output text)
case $status in
    ''|*[!0-9]*) echo "The task has no exit status; look at its log: $task" >&2; exit 1 ;;
esac
exit "$status"
