"""What people do in the shop. A function is a request; the same ones are sent to both releases."""

from __future__ import annotations

import random
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import Count, Max, QuerySet, Sum

from testproject.shop.models import CartItem, Courier, Customer, Order, OrderLine, Product

LEAVING = "Passing By"


@dataclass
class Visitor:
    """What a request can choose from: ids up to these, and the orders that this process has placed."""

    customers: int
    products: int
    placed: deque[tuple[int, str]] = field(default_factory=deque)  # id and status as last written

    @classmethod
    def arrive(cls) -> Visitor:
        # The accounts that other visitors are about to close have the highest ids.
        staying = Customer.objects.exclude(name=LEAVING)
        return cls(customers=_highest_id(staying), products=_highest_id(Product.objects.all()))

    def customer(self) -> int:
        return random.randint(1, self.customers)

    def own_order(self) -> tuple[int, str]:
        """Take one out, so that no other thread changes it meanwhile."""
        try:
            return self.placed.popleft()
        except IndexError:
            place_order(self)
            return self.own_order()


def _highest_id(rows: QuerySet[Any]) -> int:
    highest: int = rows.aggregate(highest=Max("pk"))["highest"]
    return highest


def list_orders(visitor: Visitor) -> None:
    for order in Order.objects.filter(customer_id=visitor.customer()).order_by("-placed_at")[:20]:
        order.receipt()


def list_work(visitor: Visitor) -> None:
    for order in Order.worklist():
        order.receipt()


def sum_lines(visitor: Visitor) -> None:
    orders = Order.objects.filter(customer_id=visitor.customer())
    for order in orders.annotate(items=Sum("lines__quantity"), products=Count("lines")):
        order.receipt()


def sum_spending(visitor: Visitor) -> None:
    customers = Customer.objects.filter(pk__in=[visitor.customer() for _ in range(5)])
    list(customers.annotate(spent=Sum("orders__subtotal")).order_by("-spent"))


def place_order(visitor: Visitor) -> None:
    with transaction.atomic():
        product = Product.objects.select_for_update(no_key=True).get(pk=random.randint(1, visitor.products))
        order = Order.draft(visitor.customer(), product.price * 3)
        order.save()
        lines = [OrderLine(order=order, product=product, quantity=n, price=product.price) for n in (1, 2)]
        OrderLine.objects.bulk_create(lines)
        product.stock -= 3
        product.save(update_fields=["stock"])
    visitor.placed.append((order.pk, order.status))


def take_over_orders(visitor: Visitor) -> None:
    orders = Order.take_over([Order.draft(visitor.customer(), Decimal(10 + n)) for n in range(4)])
    visitor.placed.extend((order.pk, order.status) for order in orders)


def read_own_order(visitor: Visitor) -> None:
    pk, status = visitor.own_order()
    order = Order.objects.get(pk=pk)
    order.receipt()
    if order.status != status:
        raise ValueError(f"Order {pk} is {order.status}, but {status} had been written")
    visitor.placed.append((pk, status))


def pay_order(visitor: Visitor) -> None:
    pk, _ = visitor.own_order()
    with transaction.atomic():
        order = Order.objects.select_for_update(no_key=True, of=["self"]).get(pk=pk)
        order.status = "paid"
        order.save()
    visitor.placed.append((pk, "paid"))


def send_order(visitor: Visitor) -> None:
    pk, _ = visitor.own_order()
    Order.objects.filter(pk=pk).update(status="sent")
    visitor.placed.append((pk, "sent"))


def cancel_order(visitor: Visitor) -> None:
    pk, _ = visitor.own_order()
    Order.objects.get(pk=pk).delete()


def fill_cart(visitor: Visitor) -> None:
    # In the order of their ids, or two requests for the same customer could deadlock.
    products = sorted(random.sample(range(1, visitor.products + 1), 3))
    customer = visitor.customer()
    CartItem.objects.bulk_create(
        [CartItem(customer_id=customer, product_id=product, quantity=1) for product in products],
        update_conflicts=True,
        unique_fields=["customer", "product"],
        update_fields=["quantity"],
    )


def close_account(visitor: Visitor) -> None:
    customer = Customer.objects.create(name=LEAVING, email=f"{uuid.uuid4()}@example.org")
    Order.draft(customer.pk, Decimal(25)).save()
    customer.delete()


def retire_courier(visitor: Visitor) -> None:
    with transaction.atomic():
        retired = Courier.objects.filter(active=False).order_by("pk")
        courier = retired.select_for_update(skip_locked=True).first()
        if courier is not None:
            courier.delete()


MIX: dict[Callable[[Visitor], None], int] = {
    list_orders: 20,
    list_work: 15,
    sum_lines: 10,
    sum_spending: 10,
    place_order: 12,
    take_over_orders: 3,
    read_own_order: 8,
    pay_order: 6,
    send_order: 4,
    cancel_order: 3,
    fill_cart: 6,
    close_account: 2,
    retire_courier: 1,
}
